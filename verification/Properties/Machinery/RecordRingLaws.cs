using CsCheck;
using Harness.Generating;
using IommuSim.Machinery;
using Platform;

namespace Properties.Machinery;

/// <summary>A ring of records against a list of what software has not taken yet, in the form of each interface.</summary>
public sealed class RecordRingLaws
{
    private const ulong First = 0x3000;
    private const string EventQueue = "SMMUv3 event queue";

    private static readonly Gen<(InterfaceRing Ring, int Log2, int[] Acts)> Runs =
        Gen.Select(Gen.Int[0, InterfaceRing.Records.Length - 1].Select(i => InterfaceRing.Records[i]), Gen.Int[1, 4], Gen.Int[0, 99].Array[1, 120]);

    /// <summary>The event queue of SMMUv3 (7.4) goes on where there is room; VT-d, RISC-V, AMD-Vi and SMMUv3's PRI queue (8.1) stop.</summary>
    private static OverflowRule RuleOf(InterfaceRing ring) => ring.Name == EventQueue ? OverflowRule.GoesOn : OverflowRule.Stops;

    [Fact]
    public void Each_record_is_found_once_in_order_or_software_is_told_that_some_are_lost()
    {
        int laps = 0, overflows = 0, lost = 0, keptAfterOverflow = 0;
        Runs.ForAll(2000, run =>
        {
            using var machine = new Machine(run.Ring, run.Log2);
            foreach (int act in run.Acts)
            {
                if (act < 60) machine.Record();
                else if (act < 90) machine.Take(act - 60);
                else machine.Acknowledge();
                machine.Check();
            }

            laps += machine.Laps;
            overflows += machine.Overflows;
            lost += machine.Lost;
            keptAfterOverflow += machine.KeptWhileOverflowed;
        });
        Assert.True(laps > 1000, "went round");
        Assert.True(overflows > 1000, "overflowed");
        Assert.True(lost > 1000, "lost more");
        Assert.True(keptAfterOverflow > 300, "went on though nobody acknowledged");
    }

    [Fact]
    public void A_ring_that_stops_records_nothing_until_software_acknowledges_though_there_is_room()
    {
        foreach (InterfaceRing ring in InterfaceRing.Records)
        {
            using var machine = new Machine(ring, log2: 1);
            for (int i = 0; i < ring.Room(2); i++) machine.Record();
            machine.Record();
            Assert.True(machine.IsOverflowed);
            machine.Take(1);
            bool stops = ring.Name != EventQueue;
            Assert.Equal(stops ? RecordOutcome.Lost : RecordOutcome.Kept, machine.Record());
            machine.Acknowledge();
            if (stops) Assert.Equal(RecordOutcome.Kept, machine.Record());
            machine.Check();
        }
    }

    [Fact]
    public void A_record_has_all_its_words_and_touches_no_other_entry()
    {
        foreach (InterfaceRing ring in InterfaceRing.Records)
        {
            using var memory = new RamBlock(PhysRange.FromLength(new(First), 0x1000));
            int words = 1 << ring.EntryBytesLog2 - 3;
            for (ulong at = 0; at < 0x1000; at += 8) memory.Port.Write64(new(First + at), 0xEE);
            var records = new RecordRing(ring.Layout(First, 3), RuleOf(ring)) { Producer = ring.PositionOf(5, 8), Consumer = ring.PositionOf(5, 8) };
            ulong[] record = [.. Enumerable.Range(1, words).Select(i => 0x1000_0000_0000_0001UL * (ulong)i)];
            Assert.Equal(RecordOutcome.Kept, records.Add(memory.Port, record, isOverflowed: false));
            for (int word = 0; word < 0x200; word++)
                Assert.Equal(word / words == 5 ? record[word % words] : 0xEE, memory.Port.Read64(new(First + (ulong)word * 8)));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_ring_where_no_memory_is_goes_on_or_stays_where_it_is(bool aborts)
    {
        using var memory = new RamBlock(PhysRange.FromLength(new(First), 0x1000));
        foreach (InterfaceRing ring in InterfaceRing.Records)
        {
            // The first two entries of eight have memory.
            ulong entry = 1UL << ring.EntryBytesLog2;
            ulong first = First + 0x1000 - 2 * entry;
            AbsentPlaceRule rule = aborts ? AbsentPlaceRule.Aborts : AbsentPlaceRule.GoesOn;
            var records = new RecordRing(ring.Layout(first, 3), RuleOf(ring), rule);
            for (int i = 1; i <= 7; i++)
            {
                ulong[] record = [.. Enumerable.Repeat((ulong)i, (int)entry / 8)];
                bool isLost = aborts && i > 2;
                Assert.Equal(isLost ? RecordOutcome.Aborted : RecordOutcome.Kept, records.Add(memory.Port, record, isOverflowed: false));
                Assert.Equal(ring.PositionOf(isLost ? 2 : i, 8), records.Producer);
            }

            Assert.Equal(2UL, memory.Port.Read64(new(First + 0x1000 - 8)));
        }
    }

    /// <summary>A ring, a unit that records numbers, and software that counts what it takes.</summary>
    private sealed class Machine : IDisposable
    {
        private readonly InterfaceRing _form;
        private readonly int _entryCount;
        private readonly RamBlock _memory = new(PhysRange.FromLength(new(First & ~0xFFFUL), 0x2000));
        private readonly Queue<ulong> _expected = [];
        private readonly bool _stops;
        private ulong _last;
        private int _written, _taken;

        public Machine(InterfaceRing form, int log2)
        {
            _form = form;
            _entryCount = 1 << log2;
            _stops = RuleOf(form) == OverflowRule.Stops;
            Ring = new(form.Layout(First, log2), RuleOf(form));
        }

        public RecordRing Ring { get; }

        public int Laps => _taken / _entryCount;

        /// <summary>What a status register says: the ring is told, and has no such thing of its own.</summary>
        public bool IsOverflowed { get; private set; }

        public int Overflows { get; private set; }

        public int Lost { get; private set; }

        public int KeptWhileOverflowed { get; private set; }

        public RecordOutcome Record()
        {
            ulong number = ++_last;
            ulong[] record = new ulong[1 << _form.EntryBytesLog2 - 3];
            Array.Fill(record, number);
            RecordOutcome expected = RecordOutcome.Kept;
            if ((IsOverflowed && _stops) || _expected.Count == _form.Room(_entryCount)) expected = IsOverflowed ? RecordOutcome.Lost : RecordOutcome.Overflowed;
            RecordOutcome outcome = Ring.Add(_memory.Port, record, IsOverflowed);
            Assert.Equal(expected, outcome);
            switch (outcome)
            {
                case RecordOutcome.Kept:
                    if (IsOverflowed) KeptWhileOverflowed++;
                    _expected.Enqueue(number);
                    _written++;
                    break;
                case RecordOutcome.Overflowed:
                    IsOverflowed = true;
                    Overflows++;
                    break;
                default:
                    Lost++;
                    break;
            }

            return outcome;
        }

        /// <summary>Takes some, as far as the unit's register says that there are any, and then writes its own.</summary>
        public void Take(int most)
        {
            for (int i = 0; i < most && _form.PositionOf(_taken, _entryCount) != Ring.Producer; i++)
                Assert.Equal(_expected.Dequeue(), _memory.Port.Read64(_form.AddressOf(First, _taken++, _entryCount)));
            Ring.Consumer = _form.PositionOf(_taken, _entryCount);
        }

        public void Acknowledge()
        {
            IsOverflowed = false;
        }

        public void Check()
        {
            Assert.Equal(_form.PositionOf(_written, _entryCount), Ring.Producer);
            Assert.Equal(_expected.Count == 0, Ring.IsEmpty);
        }

        public void Dispose() => _memory.Dispose();
    }
}
