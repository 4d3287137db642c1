using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace MutantHost;

/// <summary>Messages of JSON-RPC 2.0 over a connection, each after a header that says how long it is: what a server of Microsoft.Testing.Platform speaks.</summary>
internal sealed class Wire : IDisposable
{
    private const string LengthHeader = "Content-Length:";

    private readonly TcpClient _client;
    private readonly NetworkStream _stream;
    private readonly BufferedStream _read;

    private Wire(TcpClient client)
    {
        _client = client;
        _stream = client.GetStream();
        _read = new BufferedStream(_stream);
    }

    /// <summary>Connects to whoever listens on that port of this machine.</summary>
    public static Wire To(int port)
    {
        var client = new TcpClient { NoDelay = true };
        client.Connect(IPAddress.Loopback, port);
        return new(client);
    }

    /// <summary>The next message; none: the other side has gone.</summary>
    public JsonDocument? Read()
    {
        int length = -1;
        while (ReadLine() is { } line)
        {
            if (line.StartsWith(LengthHeader, StringComparison.OrdinalIgnoreCase)) length = int.Parse(line.AsSpan(LengthHeader.Length), provider: null);
            if (line.Length != 0 || length < 0) continue;
            byte[] body = new byte[length];
            _read.ReadExactly(body);
            return JsonDocument.Parse(body);
        }

        return null;
    }

    /// <summary>Answers a request.</summary>
    /// <param name="id">Which.</param>
    /// <param name="result">Writes the members of the result.</param>
    public void Answer(int id, Action<Utf8JsonWriter> result) => Send(json =>
    {
        json.WriteNumber("id", id);
        json.WriteStartObject("result");
        result(json);
        json.WriteEndObject();
    });

    /// <summary>Tells in which states tests are.</summary>
    /// <param name="run">The run or the discovery that asks.</param>
    /// <param name="states">Each test, by its id, with the state as the protocol names it.</param>
    public void Tell(string run, IReadOnlyCollection<(string Test, string State)> states) => Send(json =>
    {
        json.WriteString("method", "testing/testUpdates/tests");
        json.WriteStartObject("params");
        json.WriteString("runId", run);
        json.WriteStartArray("changes");
        foreach ((string test, string state) in states)
        {
            json.WriteStartObject();
            json.WriteStartObject("node");
            json.WriteString("uid", test);
            json.WriteString("display-name", test);
            json.WriteString("node-type", "action");
            json.WriteString("execution-state", state);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private void Send(Action<Utf8JsonWriter> members)
    {
        using var body = new MemoryStream();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteString("jsonrpc", "2.0");
            members(json);
            json.WriteEndObject();
        }

        _stream.Write([.. Encoding.ASCII.GetBytes($"{LengthHeader} {body.Length}\r\n\r\n"), .. body.ToArray()]);
    }

    private string? ReadLine()
    {
        var line = new StringBuilder();
        while (true)
        {
            int next = _read.ReadByte();
            if (next < 0) return null;
            if (next == '\n') return line.ToString();
            if (next != '\r') line.Append((char)next);
        }
    }
}
