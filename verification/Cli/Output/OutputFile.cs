using Harness;

namespace Verify.Output;

/// <summary>A file that an option names, to be written.</summary>
internal static class OutputFile
{
    /// <summary>Looks whether the file can be written, before anything is run.</summary>
    /// <param name="option">The option.</param>
    /// <param name="file">The file, as the user gave it.</param>
    /// <param name="here">Where relative paths begin.</param>
    /// <exception cref="BadInputException">It cannot.</exception>
    public static void Check(string option, string file, Surroundings here)
    {
        if (file.Length == 0) throw new BadInputException($"{option}: the name is empty; expected a file");
        string path = here.Resolve(file);
        if (Directory.Exists(path)) throw new BadInputException($"{option}: {file} is a directory; expected a file");
        if (!Directory.Exists(Path.GetDirectoryName(path))) throw new BadInputException($"{option}: the directory of {file} does not exist; expected one that does");
    }

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <param name="option">The option.</param>
    /// <param name="file">The file, as the user gave it.</param>
    /// <param name="content">What to write.</param>
    /// <param name="here">Where relative paths begin.</param>
    /// <exception cref="EnvironmentException">It cannot be written.</exception>
    public static void Write(string option, string file, string content, Surroundings here)
    {
        try
        {
            WholeFile.Write(here.Resolve(file), content);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new EnvironmentException($"{option}: {file} cannot be written: {e.Message}", e);
        }
    }
}
