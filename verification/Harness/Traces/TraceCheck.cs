using System.Text;
using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>Holds a recorded trace of the kernel's IOMMU driver to the specification.</summary>
public static class TraceCheck
{
    private const int LinesBetweenLooks = 4096;

    /// <summary>Reads and judges a file: the text of <c>/sys/kernel/tracing/trace</c>, plain or gzip.</summary>
    /// <param name="path">The file.</param>
    /// <param name="mode">The driver's mode; null to see it from the trace.</param>
    /// <param name="stop">Set to give up.</param>
    /// <returns>The counts, and the first refusal if a line breaks an invariant.</returns>
    /// <exception cref="BadInputException">The file cannot be read, is damaged or incomplete, or is of a kind that cannot be judged.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="stop"/> was set.</exception>
    public static TraceOutcome Run(string path, TraceMode? mode = null, CancellationToken stop = default)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 16, FileOptions.SequentialScan);
            return Run(file, mode, stop);
        }
        catch (BadInputException e)
        {
            throw new BadInputException($"{path}: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new BadInputException($"{path}: {e.Message.ReplaceLineEndings(" ")}");
        }
    }

    /// <summary>The same for a stream, which is read once, in constant memory, and stays open.</summary>
    /// <param name="stream">What to read.</param>
    /// <param name="mode">The driver's mode; null to see it from the trace.</param>
    /// <param name="stop">Set to give up.</param>
    /// <param name="muted">Invariants under which no line is refused.</param>
    /// <inheritdoc cref="Run(string, TraceMode?, CancellationToken)"/>
    public static TraceOutcome Run(Stream stream, TraceMode? mode = null, CancellationToken stop = default, InvariantSet muted = default)
    {
        using var input = new TraceInput(stream);
        var judge = new TraceJudge(mode, muted);
        long? announced = null;
        try
        {
            Read(input, judge, ref announced, stop);
        }
        catch (BadInputException) when (judge is { Refusal: not null, Unjudgeable: null })
        {
            // What is wrong with the rest of the file does not undo what was proven before it.
        }

        if (input.Number == 0) throw new BadInputException("the file is empty; expected the text of /sys/kernel/tracing/trace");
        if (judge.Refusal is null)
        {
            RequireComplete(judge.Counts, announced, input.Number);
            judge.End();
        }

        return new(Report(judge), judge.Refusal);
    }

    private static void Read(TraceInput input, TraceJudge judge, ref long? announced, CancellationToken stop)
    {
        while (input.TryRead(out ReadOnlySpan<byte> line))
        {
            if (input.Number % LinesBetweenLooks == 0) stop.ThrowIfCancellationRequested();
            line = line.TrimEnd((byte)'\r');
            if (line.IsEmpty) continue;
            if (line[0] == '#' || line.StartsWith("CPU:"u8) || line.StartsWith("overrun"u8))
            {
                TraceHeader.Read(line, input.Number, ref announced);
                continue;
            }

            judge.Take(TraceLine.Parse(line, input.Number));
            if (judge.Unjudgeable is { } reason) throw reason;
        }
    }

    private static void RequireComplete(TraceCounts counts, long? announced, long lines)
    {
        if (announced is { } entries && entries != counts.Events)
            throw new BadInputException(
                $"line {lines}: the trace ends after {counts.Events} events and its header announces {entries}: it was cut short or edited");
        if (counts.Events == 0) throw new BadInputException($"line {lines}: the trace ends without an event; expected iommu:* and intel_iommu:* events");
        if (counts.Maps == 0)
            throw new BadInputException($"line {lines}: the trace ends without a map event; expected iommu:* events and a device that does translated DMA");
    }

    private static TraceReport Report(TraceJudge judge) => new()
    {
        Mode = judge.Mode,
        Domain = judge.Model.SharedId?.ToString(),
        Events = judge.Counts.Events,
        Maps = judge.Counts.Maps,
        Unmaps = judge.Counts.Unmaps,
        Flushes = judge.Counts.Decisions,
        GlobalInvalidations = judge.Counts.Invalidations(Granularity.Global),
        DomainInvalidations = judge.Counts.Invalidations(Granularity.Domain),
        PageInvalidations = judge.Counts.Invalidations(Granularity.Page),
        Assignments = judge.Counts.Assignments,
        LongestStaleMicroseconds = judge.Model.LongestStaleMicroseconds,
        LivePages = judge.Model.LivePageCount(),
        StalePages = judge.Model.StalePageCount(),
        Skipped = judge.Counts.Skipped.Counts,
        Checks = judge.Model.Checks,
        Muted = judge.Muted,
    };
}

/// <summary>The lines of a trace that are no events.</summary>
internal static class TraceHeader
{
    /// <summary>Takes the number of entries from the header.</summary>
    /// <exception cref="BadInputException">The line says that events were lost.</exception>
    public static void Read(ReadOnlySpan<byte> line, long number, ref long? announced)
    {
        var reader = new FieldReader(line, number, "");
        if (reader.TryLiteral("# entries-in-buffer/entries-written: "u8))
        {
            long kept = (long)reader.Decimal("entries-in-buffer", long.MaxValue);
            reader.Literal("/"u8, "entries-written");
            long written = (long)reader.Decimal("entries-written", long.MaxValue);
            if (kept != written)
                throw Lost(number, $"{kept} of {written} entries are in the buffer");
            announced = kept;
        }
        else if (line.IndexOf("LOST"u8) >= 0 || line.IndexOf(" buffer started ####"u8) >= 0)
        {
            throw Lost(number, $"the kernel says \"{Encoding.Latin1.GetString(line[..Math.Min(line.Length, 60)])}\"");
        }
        else if (line.IndexOf("overrun: "u8) is var at and >= 0)
        {
            var count = new FieldReader(line[(at + "overrun: ".Length)..], number, "");
            if (count.Decimal("overrun", ulong.MaxValue) is var lost and > 0) throw Lost(number, $"overrun: {lost}");
        }
    }

    private static BadInputException Lost(long number, string what) =>
        new($"line {number}: events were lost: {what}; expected a complete trace: enlarge the buffer (trace_buf_size=) and capture again");
}
