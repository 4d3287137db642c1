using System.Text.Encodings.Web;
using System.Text.Json;
using Harness;

namespace Verify.Output;

/// <summary>The file of <c>--json</c>, for programs to read.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal abstract class JsonFile(Surroundings here, string file)
{
    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        IndentSize = 1,
        NewLine = "\n",
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Looks whether the file can be written, before anything is run.</summary>
    /// <exception cref="BadInputException">It cannot.</exception>
    public void Check()
    {
        if (file.Length == 0) throw new BadInputException("--json: the name is empty; expected a file");
        string path = here.Resolve(file);
        if (Directory.Exists(path)) throw new BadInputException($"--json: {file} is a directory; expected a file");
        if (!Directory.Exists(Path.GetDirectoryName(path))) throw new BadInputException($"--json: the directory of {file} does not exist; expected one that does");
    }

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <exception cref="EnvironmentException">It cannot be written.</exception>
    protected void WriteContent(object content)
    {
        try
        {
            WholeFile.Write(here.Resolve(file), JsonSerializer.Serialize(content, Json) + "\n");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new EnvironmentException($"--json: {file} cannot be written: {e.Message}", e);
        }
    }

    /// <summary>A time in seconds, to a thousandth.</summary>
    protected static double Seconds(TimeSpan time) => Math.Round(time.TotalSeconds, 3);
}
