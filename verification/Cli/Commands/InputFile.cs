using System.Text;
using Harness;

namespace Verify.Commands;

/// <summary>A file of JSON that the user names.</summary>
internal static class InputFile
{
    /// <summary>Reads a file.</summary>
    /// <typeparam name="T">What is in it.</typeparam>
    /// <param name="path">Its path, as given.</param>
    /// <param name="here">What the path is relative to.</param>
    /// <param name="what">What it should be, with its article.</param>
    /// <param name="parse">Reads the text.</param>
    /// <exception cref="BadInputException">It cannot be read, or is none; the message begins with the path.</exception>
    public static T Read<T>(string path, Surroundings here, string what, Func<string, T> parse)
    {
        try
        {
            byte[] bytes = File.ReadAllBytes(here.Resolve(path));
            return parse(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes));
        }
        catch (BadInputException e)
        {
            throw new BadInputException($"{path}: {e.Message}");
        }
        catch (DecoderFallbackException)
        {
            throw new BadInputException($"{path}: not {what}: it is not text; expected JSON in UTF-8");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BadInputException($"{path}: it does not exist; expected {what}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new BadInputException($"{path}: it cannot be read: {e.Message.TrimEnd('.')}; expected {what}");
        }
    }
}
