using System.Text.Json;

namespace TestRunner;

/// <summary>What is told of the tests while they run: a line of JSON for each thing, so that what ends the process ends no more than the last line.</summary>
/// <param name="path">The file.</param>
internal sealed class Told(string path) : IDisposable
{
    private readonly FileStream _file = File.Create(path);
    private readonly object _lock = new();

    /// <summary>Tells one thing.</summary>
    public void Tell(params ReadOnlySpan<(string Name, string Value)> fields)
    {
        using var line = new MemoryStream();
        using (var json = new Utf8JsonWriter(line))
        {
            json.WriteStartObject();
            foreach ((string name, string value) in fields) json.WriteString(name, value);
            json.WriteEndObject();
        }

        line.Write("\n"u8);
        lock (_lock)
        {
            if (!_file.CanWrite) return;
            _file.Write(line.GetBuffer().AsSpan(0, (int)line.Length));
            _file.Flush();
        }
    }

    /// <summary>Nothing is told from here on.</summary>
    public void Dispose()
    {
        lock (_lock) _file.Dispose();
    }
}
