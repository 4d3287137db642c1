using Explorer.Machines;
using Explorer.Races;
using Explorer.Scheduling;
using Platform;
using Vcmm.Spec;

namespace Concurrency;

/// <summary>What an access does with a word.</summary>
public enum AccessKind
{
    /// <summary>Reads it.</summary>
    Load,

    /// <summary>Writes it, whatever it was.</summary>
    Store,

    /// <summary>Reads it and writes it in one, if it is what is expected.</summary>
    Exchange,
}

/// <summary>Which accesses to one word are a race, in every schedule of two of them.</summary>
public sealed class AccessRaceTests
{
    private static readonly PhysRange Bank = PhysRange.FromLength(new(0x1_0000), 0x4000);
    private static readonly MemoryPool Pool = new(Bank);
    private static readonly PhysAddr Entry = new(0x1_0008);
    private static readonly PhysAddr Descriptor = new(0x1_2010);

    [Theory]
    [InlineData(AccessKind.Store, AccessKind.Store, true)]
    [InlineData(AccessKind.Store, AccessKind.Exchange, true)]
    [InlineData(AccessKind.Exchange, AccessKind.Exchange, false)]
    [InlineData(AccessKind.Store, AccessKind.Load, false)]
    [InlineData(AccessKind.Load, AccessKind.Load, false)]
    public void Processors_race_where_a_store_could_be_lost(AccessKind one, AccessKind other, bool isRace)
    {
        Violation? violation = Run(
            memory => Do(memory(MemorySide.Processor), one, Entry), memory => Do(memory(MemorySide.Processor), other, Entry));
        if (!isRace)
        {
            Assert.Null(violation);
            return;
        }

        Assert.Equal(Invariant.SharedTable, violation?.Invariant);
        Assert.Contains("cpu 0 stores to", violation!.Observed);
        Assert.Contains(other == AccessKind.Exchange ? "cpu 1 exchanges" : "cpu 1 stores to", violation.Observed);
        Assert.Contains($"{Entry}", violation.Observed);
    }

    [Fact]
    public void A_lock_orders_them_and_so_does_another_word()
    {
        object gate = new();
        void Locked(ControlledMemory memory)
        {
            lock (gate) Do(memory, AccessKind.Store, Entry);
        }

        Assert.Null(Run(memory => Locked(memory(MemorySide.Processor)), memory => Locked(memory(MemorySide.Processor))));
        Assert.Null(Run(
            memory => Do(memory(MemorySide.Processor), AccessKind.Store, Entry), memory => Do(memory(MemorySide.Processor), AccessKind.Store, Entry + 8)));
    }

    [Fact]
    public void The_hardware_races_for_descriptors_and_not_for_entries()
    {
        Assert.Null(Run(memory => Do(memory(MemorySide.Processor), AccessKind.Store, Entry), memory => Do(memory(MemorySide.Walker), AccessKind.Load, Entry)));
        Violation? violation = Run(
            memory => Do(memory(MemorySide.Processor), AccessKind.Store, Descriptor), memory => Do(memory(MemorySide.Walker), AccessKind.Load, Descriptor));
        Assert.Equal(Invariant.Progress, violation?.Invariant);
        Assert.Contains($"cpu 1 reads {Descriptor}", violation!.Observed);
    }

    private static void Do(ControlledMemory memory, AccessKind kind, PhysAddr word)
    {
        if (kind == AccessKind.Load) memory.Read64(word);
        else if (kind == AccessKind.Store) memory.Write64(word, Attempt.Agent[^1]);
        else memory.CompareExchange64(word, Attempt.Agent[^1], 0);
    }

    private static Violation? Run(Action<Func<MemorySide, ControlledMemory>> one, Action<Func<MemorySide, ControlledMemory>> other)
    {
        (bool isComplete, Exploration result) = Controlled.Exhaust(new(Strategy.Random, 1, 10_000), 2, attempt =>
        {
            Attempt.Agent = Attempt.SetUpAgent;
            Pool.Reset();
            var races = new AccessRaces(attempt, static word => word.Value >> 12 == Descriptor.Value >> 12);
            ControlledMemory Memory(MemorySide side) => new(Pool, new Unseen(), null, side, races);
            Task[] both = [Task.Run(() => Play("cpu 0", one)), Task.Run(() => Play("cpu 1", other))];
            Task.WaitAll(both);

            void Play(string name, Action<Func<MemorySide, ControlledMemory>> body)
            {
                Attempt.Agent = name;
                body(Memory);
            }
        });
        Assert.True(isComplete || result.Failure is not null);
        return result.Failure?.Violation;
    }

    private sealed class Unseen : IMemoryObserver
    {
        public void WordRead(PhysAddr address, ulong value)
        {
        }

        public void WordWritten(PhysAddr address, ulong value)
        {
        }

        public void BytesMoved(PhysAddr address, int byteCount, bool toMemory)
        {
        }
    }
}
