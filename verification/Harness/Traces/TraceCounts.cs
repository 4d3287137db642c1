using System.Text;

namespace Harness.Traces;

/// <summary>How many lines of each kind a trace held.</summary>
internal sealed class TraceCounts
{
    private readonly long[] _invalidations = new long[4];

    public long Events { get; set; }

    public long Maps { get; set; }

    public long Unmaps { get; set; }

    public long Decisions { get; set; }

    public long Assignments { get; set; }

    public SkippedEvents Skipped { get; } = new();

    public void Add(Granularity granularity) => _invalidations[(int)granularity]++;

    public long Invalidations(Granularity granularity) => _invalidations[(int)granularity];
}

/// <summary>Events that nobody judges, counted by name.</summary>
internal sealed class SkippedEvents
{
    /// <summary>A kernel has some thousands of events; a file that is none may have any number of names.</summary>
    private const int MaximumNames = 4096;

    private const int MaximumLength = 64;
    private readonly Dictionary<string, long> _counts = [];

    public IReadOnlyDictionary<string, long> Counts => _counts;

    /// <summary>One more of an event, and of a kind of it unless that is empty.</summary>
    public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> kind)
    {
        Span<char> text = stackalloc char[2 * MaximumLength + 1];
        int length = Encoding.Latin1.GetChars(name[..Math.Min(name.Length, MaximumLength)], text);
        if (!kind.IsEmpty)
        {
            text[length++] = ' ';
            length += Encoding.Latin1.GetChars(kind[..Math.Min(kind.Length, MaximumLength)], text[length..]);
        }

        text = text[..length];
        foreach (ref char character in text)
        {
            if (character is < ' ' or > '~') character = '?';
        }

        var counts = _counts.GetAlternateLookup<ReadOnlySpan<char>>();
        if (counts.TryGetValue(text, out long count))
            counts[text] = count + 1;
        else if (_counts.Count < MaximumNames)
            counts[text] = 1;
        else
            _counts["(others)"] = _counts.GetValueOrDefault("(others)") + 1;
    }
}
