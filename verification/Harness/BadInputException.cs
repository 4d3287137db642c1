namespace Harness;

/// <summary>A file, an option or a description from outside cannot be used. The message is one line for the user: the field, what was found, what is expected.</summary>
public sealed class BadInputException(string message) : Exception(message);
