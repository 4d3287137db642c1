using System.IO.Compression;
using System.Text;
using Harness.Traces;

namespace Conformance.Traces;

/// <summary>The captures as lines that tests can change, and back to a file.</summary>
internal static class CaptureText
{
    /// <summary>The header's line that announces how many events follow.</summary>
    public const int HeaderIndex = 2;

    public static string[] Strict { get; } = Read(Captures.Names[0]);

    public static string[] Lazy { get; } = Read(Captures.Names[1]);

    public static TraceOutcome Judge(IEnumerable<string> lines) => TraceCheck.Run(File(lines));

    public static MemoryStream File(IEnumerable<string> lines)
    {
        var file = new MemoryStream(1 << 22);
        Span<byte> line = stackalloc byte[1024];
        foreach (string text in lines)
        {
            int length = Encoding.Latin1.GetBytes(text, line);
            line[length++] = (byte)'\n';
            file.Write(line[..length]);
        }

        file.Position = 0;
        return file;
    }

    /// <summary>The lines after an edit, with a header that announces what is there.</summary>
    public static List<string> Edit(string[] lines, Action<List<string>> edit)
    {
        List<string> edited = [.. lines];
        edit(edited);
        int events = edited.Count(line => line[0] != '#');
        edited[HeaderIndex] = $"# entries-in-buffer/entries-written: {events}/{events}   #P:2";
        return edited;
    }

    private static string[] Read(string name)
    {
        using var text = new StreamReader(new GZipStream(Captures.Open(name), CompressionMode.Decompress), Encoding.Latin1);
        return text.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
