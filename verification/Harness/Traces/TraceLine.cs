using System.Globalization;
using System.Text;

namespace Harness.Traces;

/// <summary>What was running on a processor when a line was recorded.</summary>
internal enum Context : byte
{
    Task,
    SoftInterrupt,
    HardInterrupt,
    NonMaskable,
}

/// <summary>Where a line was recorded: the processor, what ran there, and the task that ran or was interrupted.</summary>
internal readonly record struct Place(int Cpu, Context Context, int Pid)
{
    /// <summary>No kernel has more processors.</summary>
    public const int MaximumCpu = 8191;

    /// <summary><c>task 282 on CPU 0</c>, <c>hard interrupt on CPU 1</c>.</summary>
    public override string ToString() => Context switch
    {
        Context.Task => string.Create(CultureInfo.InvariantCulture, $"task {Pid} on CPU {Cpu}"),
        Context.SoftInterrupt => string.Create(CultureInfo.InvariantCulture, $"soft interrupt on CPU {Cpu}"),
        Context.HardInterrupt => string.Create(CultureInfo.InvariantCulture, $"hard interrupt on CPU {Cpu}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"NMI on CPU {Cpu}"),
    };
}

/// <summary>A line of an event, split: who, where, when, which event, and the event's own text.</summary>
/// <remarks><b>Source.</b> Linux, <c>Documentation/trace/ftrace.rst</c>, "Output format".</remarks>
internal readonly ref struct TraceLine
{
    /// <summary>The task's name is right-aligned in so many columns, whatever is in it.</summary>
    private const int TaskColumns = 16;

    private TraceLine(long number, Place place, long microseconds, ReadOnlySpan<byte> name, ReadOnlySpan<byte> text)
    {
        Number = number;
        Place = place;
        Microseconds = microseconds;
        Event = name;
        Text = text;
    }

    public long Number { get; }

    public Place Place { get; }

    public long Microseconds { get; }

    public ReadOnlySpan<byte> Event { get; }

    public ReadOnlySpan<byte> Text { get; }

    /// <exception cref="BadInputException">It is no line of an event.</exception>
    public static TraceLine Parse(ReadOnlySpan<byte> line, long number)
    {
        var reader = new FieldReader(line, number, "");
        if (line.Length <= TaskColumns || line[TaskColumns] != '-')
            throw reader.Bad("TASK-PID", "a line of /sys/kernel/tracing/trace: TASK in 16 columns, -PID, [CPU], flags, seconds, event");

        reader = new FieldReader(line[(TaskColumns + 1)..], number, "");
        int pid = (int)reader.Decimal("PID", int.MaxValue);
        reader.Blanks();
        if (reader.TryLiteral("("u8))
        {
            // The thread group, where the option record-tgid is set.
            reader.SkipPast((byte)')', "TGID");
            reader.Blanks();
        }

        reader.Literal("["u8, "CPU");
        int cpu = (int)reader.Decimal("CPU", Place.MaximumCpu);
        reader.Literal("]"u8, "CPU");
        reader.Blanks();
        Context context = ReadContext(ref reader);
        reader.Blanks();
        long microseconds = ReadTime(ref reader);
        reader.Literal(": "u8, "TIMESTAMP");
        ReadOnlySpan<byte> rest = reader.Rest;
        int end = rest.IndexOfAny(": "u8);
        if (end == 0 || rest.IsEmpty) throw reader.Bad("FUNCTION", "the name of an event");
        if (end < 0) return new(number, new(cpu, context, pid), microseconds, rest, default);
        ReadOnlySpan<byte> text = rest[end] == ':' ? rest[(end + 1)..] : rest[end..];
        return new(number, new(cpu, context, pid), microseconds, rest[..end], text.TrimStart((byte)' '));
    }

    private static Context ReadContext(ref FieldReader reader)
    {
        FieldReader before = reader;
        ReadOnlySpan<byte> flags = reader.Word();
        if (flags.Length is < 4 or > 8 || flags.IndexOf((byte)':') >= 0)
            throw before.Bad("flags", "4 or 5 characters such as d.h1. (trace option irq-info)");
        return flags[2] switch
        {
            (byte)'.' => Context.Task,
            (byte)'s' => Context.SoftInterrupt,
            (byte)'h' or (byte)'H' => Context.HardInterrupt,
            (byte)'z' or (byte)'Z' => Context.NonMaskable,
            _ => throw before.Bad("flags", "one of . s h H z Z in the third column"),
        };
    }

    private static long ReadTime(ref FieldReader reader)
    {
        // The largest number of seconds of which the microseconds fit in 63 bits.
        ulong seconds = reader.Decimal("TIMESTAMP", 9_000_000_000_000);
        FieldReader before = reader;
        reader.Literal("."u8, "TIMESTAMP");
        int digits = reader.Rest.Length;
        ulong microseconds = reader.Decimal("TIMESTAMP", 999_999);
        if (digits - reader.Rest.Length != 6) throw before.Bad("TIMESTAMP", "seconds with 6 decimals (trace_clock local or global)");
        return (long)(seconds * 1_000_000 + microseconds);
    }
}
