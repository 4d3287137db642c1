using System.Text.Encodings.Web;
using System.Text.Json;

namespace Verify.Output;

/// <summary>The file of <c>--json</c>, for programs to read.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="file">The file, as the user gave it.</param>
internal abstract class JsonFile(Surroundings here, string file)
{
    private const string Option = "--json";

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
    public void Check() => OutputFile.Check(Option, file, here);

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <exception cref="EnvironmentException">It cannot be written.</exception>
    protected void WriteContent(object content) => OutputFile.Write(Option, file, TextOf(content), here);

    /// <summary>What such a file says.</summary>
    private static string TextOf(object content) => JsonSerializer.Serialize(content, Json) + "\n";

    /// <summary>A time in seconds, to a thousandth.</summary>
    protected static double Seconds(TimeSpan time) => Math.Round(time.TotalSeconds, 3);
}
