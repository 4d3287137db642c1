using Explorer.Machines;
using Explorer.Scheduling;
using Platform;

namespace Concurrency;

/// <summary>
/// What weak memory lets happen and what it does not, in the smallest programs that tell: the outcomes over many schedules are exactly the
/// allowed ones.
/// </summary>
/// <remarks>
/// <b>Source.</b> The shapes and their names: Alglave, Maranget, Tautschnig, "Herding Cats", 2014; what x86-TSO forbids: Owens, Sarkar,
/// Sewell, "A Better x86 Memory Model: x86-TSO", 2009; Intel SDM volume 3, "Memory Ordering in P6 and More Recent Processor Families".
/// </remarks>
public sealed class LitmusTests
{
    private const int SchedulesPerStrategy = 250;
    private const ulong Old = 0, New = 1;

    /// <summary>Both read 0 is seen without fences, and only there.</summary>
    [Theory]
    [InlineData(MemoryModel.StoreBuffers, Between.Nothing, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.StoreBuffers, Between.Clean, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.StoreBuffers, Between.Fence, "0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.StoreBuffers, Between.CompareExchange, "0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.Nothing, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.Fence, "0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.Sequential, Between.Nothing, "0 1, 1 0, 1 1")]
    public void Store_buffering(MemoryModel model, Between between, string allowed) => Check(model, allowed, run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            run.Order(memory, run.X, between);
            run.See(0, memory.Read64(run.Y));
        });
        run.Processor(1, memory =>
        {
            memory.Write64(run.Y, 1);
            run.Order(memory, run.Y, between);
            run.See(1, memory.Read64(run.X));
        });
    });

    /// <summary>Each finds its own store at once, the other's later.</summary>
    [Fact]
    public void Store_forwarding() => Check(MemoryModel.StoreBuffers, "1 0 1 0, 1 0 1 1, 1 1 1 0, 1 1 1 1", run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            run.See(0, memory.Read64(run.X));
            run.See(1, memory.Read64(run.Y));
        });
        run.Processor(1, memory =>
        {
            memory.Write64(run.Y, 1);
            run.See(2, memory.Read64(run.Y));
            run.See(3, memory.Read64(run.X));
        });
    });

    /// <summary>Stores arrive in order at who snoops; at who does not, in any order, unless they are cleaned and that is fenced.</summary>
    [Theory]
    [InlineData(MemoryModel.StoreBuffers, MemorySide.Processor, Between.Nothing, "0 0, 0 1, 1 1")]
    [InlineData(MemoryModel.StoreBuffers, MemorySide.Device, Between.Nothing, "0 0, 0 1, 1 1")]
    [InlineData(MemoryModel.StoreBuffers, MemorySide.Walker, Between.Nothing, "0 0, 0 1, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Device, Between.Nothing, "0 0, 0 1, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.Nothing, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.Fence, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.CompareExchange, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.Clean, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.FenceAndClean, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.CleanAndFence, "0 0, 0 1, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker, Between.CleanAndCompareExchange, "0 0, 0 1, 1 1")]
    public void Message_passing(MemoryModel model, MemorySide reader, Between between, string allowed) => Check(model, allowed, run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            run.Order(memory, run.X, between);
            memory.Write64(run.Y, 1);
        });
        run.Agent("reader", reader, memory =>
        {
            run.See(0, memory.Read64(run.Y));
            run.See(1, memory.Read64(run.X));
        });
    });

    /// <summary>A line is written back as a whole.</summary>
    [Fact]
    public void Message_passing_in_one_line() => Check(MemoryModel.NonCoherentWalks, "0 0, 0 1, 1 1", run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            memory.Write64(run.X + 8, 1);
        });
        run.Agent("reader", MemorySide.Walker, memory =>
        {
            run.See(0, memory.Read64(run.X + 8));
            run.See(1, memory.Read64(run.X));
        });
    });

    /// <summary>What is written between the cleaning of its line and the fence may be left behind, what was written before may not.</summary>
    [Fact]
    public void A_cleaning_is_of_what_was_written_before_it() => Check(MemoryModel.NonCoherentWalks, "1, 2", run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            memory.Clean(PhysRange.FromLength(run.X, 8));
            memory.Write64(run.X, 2);
            memory.Fence();
            run.Ring();
        });
        run.AtDoorbell(MemorySide.Walker, memory => run.See(0, memory.Read64(run.X)));
    });

    /// <summary>Of one word all see the same history.</summary>
    [Theory]
    [InlineData(MemoryModel.StoreBuffers, MemorySide.Processor)]
    [InlineData(MemoryModel.StoreBuffers, MemorySide.Device)]
    [InlineData(MemoryModel.NonCoherentWalks, MemorySide.Walker)]
    public void Coherence(MemoryModel model, MemorySide reader) => Check(model, "0 0, 0 1, 0 2, 1 1, 1 2, 2 2", run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            memory.Write64(run.X, 2);
        });
        run.Agent("reader", reader, memory =>
        {
            run.See(0, memory.Read64(run.X));
            run.See(1, memory.Read64(run.X));
        });
    });

    [Fact]
    public void Halves_of_a_word() => Check(MemoryModel.StoreBuffers, "0 0, 0 1, 1 1", run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write32(run.X, 1);
            memory.Write32(run.X + 4, 1);
        });
        run.Agent("reader", MemorySide.Device, memory =>
        {
            ulong word = memory.Read64(run.X);
            run.See(0, word >> 32);
            run.See(1, word & uint.MaxValue);
        });
    });

    /// <summary>Loads are not overtaken by later stores.</summary>
    [Fact]
    public void Load_buffering() => Check(MemoryModel.StoreBuffers, "0 0, 0 1, 1 0", run =>
    {
        run.Processor(0, memory =>
        {
            run.See(0, memory.Read64(run.X));
            memory.Write64(run.Y, 1);
        });
        run.Processor(1, memory =>
        {
            run.See(1, memory.Read64(run.Y));
            memory.Write64(run.X, 1);
        });
    });

    /// <summary>Who finds a store in a compare-exchange finds all that is before it; one of two comes first.</summary>
    [Fact]
    public void Compare_exchange() => Check(MemoryModel.StoreBuffers, "0 1, 1 0", run =>
    {
        foreach (int processor in (int[])[0, 1]) run.Processor(processor, memory => run.See(processor, memory.CompareExchange64(run.X, 1, 0)));
    });

    /// <summary>An entry is written, then the device is told. It may walk the old one unless a fence is between, and a cleaning for who does not snoop.</summary>
    [Theory]
    [InlineData(MemoryModel.Sequential, Between.Nothing, "1")]
    [InlineData(MemoryModel.StoreBuffers, Between.Nothing, "0, 1")]
    [InlineData(MemoryModel.StoreBuffers, Between.Clean, "0, 1")]
    [InlineData(MemoryModel.StoreBuffers, Between.Fence, "1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.Nothing, "0, 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.Fence, "0, 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.Clean, "0, 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.FenceAndClean, "0, 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.CleanAndFence, "1")]
    public void Entry_then_doorbell(MemoryModel model, Between between, string allowed) => Check(model, allowed, run =>
    {
        run.Processor(0, memory =>
        {
            memory.CompareExchange64(run.Y, New, Old);
            memory.Write64(run.X, New);
            run.Order(memory, run.X, between);
            run.Ring();
        });
        run.AtDoorbell(MemorySide.Walker, memory => run.See(0, memory.Read64(run.X)));
    });

    /// <summary>The doorbell overtakes a descriptor of two words: the device may take either half for the whole.</summary>
    [Theory]
    [InlineData(MemoryModel.StoreBuffers, Between.Nothing, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.StoreBuffers, Between.Fence, "1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.Fence, "0 0, 0 1, 1 0, 1 1")]
    [InlineData(MemoryModel.NonCoherentWalks, Between.CleanAndFence, "1 1")]
    public void Doorbell_before_descriptor(MemoryModel model, Between between, string allowed) => Check(model, allowed, run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            memory.Write64(run.X + 8, 1);
            run.Order(memory, run.X, between);
            run.Ring();
        });
        run.AtDoorbell(MemorySide.Walker, memory =>
        {
            run.See(0, memory.Read64(run.X));
            run.See(1, memory.Read64(run.X + 8));
        });
    });

    /// <summary>A status that is cleared with no fence before the doorbell may be cleared after the device has set it.</summary>
    [Theory]
    [InlineData(Between.Nothing, "1, 2")]
    [InlineData(Between.Fence, "2")]
    public void Completion_overwritten(Between between, string allowed) => Check(MemoryModel.StoreBuffers, allowed, run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            run.Order(memory, run.X, between);
            run.Ring();
        });
        run.AtDoorbell(MemorySide.Walker, memory => memory.Write64(run.X, 2));
        run.SeeAtEnd(run.X);
    });

    /// <summary>Two words, written by both in opposite orders: one of the two is last in both, or each in its own last.</summary>
    [Fact]
    public void Two_plus_two_writes() => Check(MemoryModel.StoreBuffers, "1 2, 2 1, 2 2", run =>
    {
        run.Processor(0, memory =>
        {
            memory.Write64(run.X, 1);
            memory.Write64(run.Y, 2);
        });
        run.Processor(1, memory =>
        {
            memory.Write64(run.Y, 1);
            memory.Write64(run.X, 2);
        });
        run.SeeAtEnd(run.X, run.Y);
    });

    /// <summary>Two who read agree which of two stores was first: a store arrives at all at once.</summary>
    [Fact]
    public void Independent_reads_of_independent_writes() => Check(
        MemoryModel.StoreBuffers,
        "0 0 0 0, 0 0 0 1, 0 0 1 0, 0 0 1 1, 0 1 0 0, 0 1 0 1, 0 1 1 0, 0 1 1 1, 1 0 0 0, 1 0 0 1, 1 0 1 1, 1 1 0 0, 1 1 0 1, 1 1 1 0, 1 1 1 1",
        run =>
        {
            run.Processor(0, memory => memory.Write64(run.X, 1));
            run.Processor(1, memory => memory.Write64(run.Y, 1));
            run.Agent("one", MemorySide.Device, memory =>
            {
                run.See(0, memory.Read64(run.X));
                run.See(1, memory.Read64(run.Y));
            });
            run.Agent("other", MemorySide.Device, memory =>
            {
                run.See(2, memory.Read64(run.Y));
                run.See(3, memory.Read64(run.X));
            });
        });

    /// <summary>What the library's threads see of one another is never behind.</summary>
    [Fact]
    public void Processors_that_synchronize_see_one_another_at_once() => Check(
        MemoryModel.StoreBuffers, "0 1, 1 0, 1 1",
        run =>
        {
            run.Processor(0, memory =>
            {
                memory.Write64(run.X, 1);
                run.See(0, memory.Read64(run.Y));
            });
            run.Processor(1, memory =>
            {
                memory.Write64(run.Y, 1);
                run.See(1, memory.Read64(run.X));
            });
        },
        processorsSynchronize: true);

    [Fact]
    public void The_same_seed_gives_the_same_outcomes_in_the_same_order()
    {
        void Body(LitmusRun run)
        {
            run.Processor(0, memory => memory.Write64(run.X, 1));
            run.Agent("reader", MemorySide.Walker, memory => run.See(0, memory.Read64(run.X)));
        }

        Assert.Equal(LitmusRun.Outcomes(MemoryModel.NonCoherentWalks, Strategy.Random, 100, false, Body), LitmusRun.Outcomes(MemoryModel.NonCoherentWalks, Strategy.Random, 100, false, Body));
    }

    private static void Check(MemoryModel model, string allowed, Action<LitmusRun> program, bool processorsSynchronize = false)
    {
        var seen = new SortedSet<string>(StringComparer.Ordinal);
        foreach (Strategy strategy in (Strategy[])[Strategy.Random, Strategy.Probabilistic])
            seen.UnionWith(LitmusRun.Outcomes(model, strategy, SchedulesPerStrategy, processorsSynchronize, program));
        Assert.Equal(allowed, string.Join(", ", seen));
    }
}
