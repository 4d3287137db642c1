using CsCheck;
using Harness.Generating;
using IommuSim.Machinery;
using Platform;

namespace Properties.Machinery;

/// <summary>A ring of commands against a list of what software has written, in the form of each interface.</summary>
public sealed class CommandRingLaws
{
    private const ulong First = 0x3000;

    /// <summary>A command that no interface knows.</summary>
    private const ulong Illegal = ulong.MaxValue;

    private static readonly Gen<(InterfaceRing Ring, int Log2, int[] Acts)> Runs =
        Gen.Select(Gen.Int[0, InterfaceRing.Commands.Length - 1].Select(i => InterfaceRing.Commands[i]), Gen.Int[1, 4], Gen.Int[0, 99].Array[1, 120]);

    [Fact]
    public void Commands_are_consumed_once_each_in_the_order_in_which_they_were_written()
    {
        int laps = 0, full = 0, errors = 0, restarts = 0;
        Runs.ForAll(2000, run =>
        {
            using var machine = new Machine(run.Ring, run.Log2);
            foreach (int act in run.Acts)
            {
                if (act < 50) full += machine.Write(act < 45 ? (ulong)act + 1 : Illegal) ? 0 : 1;
                else if (act < 85) machine.Consume(act - 49);
                else if (act < 97) errors += machine.Repair() ? 1 : 0;
                else restarts += machine.Restart();
                machine.Check();
            }

            laps += machine.Laps;
        });
        Assert.True(laps > 1000, "went round");
        Assert.True(full > 1000, "was full");
        Assert.True(errors > 500, "stopped");
        Assert.True(restarts > 500, "was switched off and on");
    }

    [Fact]
    public void An_error_stops_the_ring_at_the_command_until_software_has_seen_to_it()
    {
        foreach (InterfaceRing ring in InterfaceRing.Commands)
        {
            using var machine = new Machine(ring, log2: 3);
            Assert.True(machine.Write(1) && machine.Write(Illegal) && machine.Write(3));
            machine.Consume(10);
            Assert.Equal(ring.PositionOf(1, 8), machine.Ring.Consumer);
            Assert.False(machine.Ring.IsRunning);
            machine.Consume(10);
            Assert.Equal([1UL], machine.Unit.Consumed);
            Assert.True(machine.Repair());
            machine.Consume(10);
            Assert.Equal([1UL, Machine.Harmless, 3UL], machine.Unit.Consumed);
        }
    }

    [Fact]
    public void What_was_fetched_before_the_ring_was_switched_off_or_stopped_takes_no_effect()
    {
        bool isStopped = false;
        var ring = new CommandRing(InterfaceRing.Commands[0].Layout(First, 3), () => isStopped);
        ring.Switch(isOn: true, consumer: 0);
        ulong fetched = ring.Generation;
        Assert.True(ring.IsStill(fetched));
        isStopped = true;
        Assert.False(ring.IsStill(fetched));
        isStopped = false;
        Assert.True(ring.IsStill(fetched));
        ring.Switch(isOn: false, consumer: 0);
        Assert.False(ring.IsStill(ring.Generation));
        ring.Switch(isOn: true, consumer: 0);
        Assert.False(ring.IsStill(fetched));
        Assert.True(ring.IsStill(ring.Generation));
    }

    /// <summary>SMMU_CMDQ_CONS, and AMD's head pointer: software says where the hardware begins; VT-d's and RISC-V's begin at 0.</summary>
    [Fact]
    public void A_ring_begins_where_it_is_told()
    {
        InterfaceRing smmu = InterfaceRing.Commands.Single(each => each.Positions == RingPositions.IndexAndWrap);
        var ring = new CommandRing(smmu.Layout(First, 2), static () => false);
        ring.Switch(isOn: true, consumer: 6);
        ring.Producer = 6;
        Assert.False(ring.HasPending);
        ring.Producer = 2;
        Assert.True(ring.HasPending);
        Assert.Equal(First + 2 * 16, ring.NextAddress.Value);
    }

    [Fact]
    public void Nothing_is_consumed_up_to_a_position_that_is_none()
    {
        using var machine = new Machine(InterfaceRing.Commands[1], log2: 2);
        foreach (ulong position in new ulong[] { 0x10, 0x80, 0x1000 })
        {
            machine.Ring.Producer = position;
            Assert.Equal(0, machine.Ring.Consume(machine.Unit, 10));
        }

        machine.Ring.Producer = 0x20;
        Assert.Equal(1, machine.Ring.Consume(machine.Unit, 10));
    }

    [Fact]
    public void A_command_that_has_the_next_one_consumed_waits_its_turn()
    {
        using var machine = new Machine(InterfaceRing.Commands[3], log2: 3);
        int inner = -1;
        machine.Unit.Before = () =>
        {
            machine.Unit.Before = static () => { };
            inner = machine.Ring.Consume(machine.Unit, 10);
        };
        Assert.True(machine.Write(1) && machine.Write(2));
        machine.Consume(10);
        Assert.Equal(0, inner);
        Assert.Equal([1UL, 2UL], machine.Unit.Consumed);
        machine.Unit.Before = static () => throw new InvalidOperationException("a command went wrong");
        Assert.True(machine.Write(3));
        Assert.Throws<InvalidOperationException>(() => machine.Ring.Consume(machine.Unit, 10));
        machine.Unit.Before = static () => { };
        machine.Consume(10);
        Assert.Equal([1UL, 2UL, 3UL], machine.Unit.Consumed);
    }

    /// <summary>Hardware that notes what it consumes and knows one command that is none.</summary>
    private sealed class NotingUnit(CommandRing ring, Ram memory) : ICommandConsumer
    {
        public List<ulong> Consumed { get; } = [];

        public bool IsStopped { get; set; }

        public Action Before { get; set; } = static () => { };

        public int ConsumeNext(int most)
        {
            if (!ring.IsRunning || !ring.HasPending) return 0;
            ulong command = memory.Read64(ring.NextAddress);
            Before();
            if (command == Illegal)
            {
                IsStopped = true;
                return 0;
            }

            Consumed.Add(command);
            ring.Advance();
            return 1;
        }
    }

    /// <summary>A ring, software that counts what it writes, and a list of what must be consumed.</summary>
    private sealed class Machine : IDisposable
    {
        public const ulong Harmless = 99;
        private readonly InterfaceRing _form;
        private readonly int _entryCount;
        private readonly RamBlock _memory = new(PhysRange.FromLength(new(First & ~0xFFFUL), 0x2000));
        private readonly List<ulong> _expected = [];
        private readonly Queue<ulong> _pending = [];
        private int _written, _consumed;
        private bool _isStopped;

        public Machine(InterfaceRing form, int log2)
        {
            _form = form;
            _entryCount = 1 << log2;
            Ring = new(form.Layout(First, log2), () => Unit!.IsStopped);
            Unit = new(Ring, _memory.Port);
            Ring.Switch(isOn: true, consumer: 0);
        }

        public CommandRing Ring { get; }

        public NotingUnit Unit { get; }

        public int Laps { get; private set; }

        /// <summary>False if there is no room.</summary>
        public bool Write(ulong command)
        {
            if (_pending.Count == _form.Room(_entryCount)) return false;
            _memory.Port.Write64(_form.AddressOf(First, _written++, _entryCount), command);
            _pending.Enqueue(command);
            Ring.Producer = _form.PositionOf(_written, _entryCount);
            return true;
        }

        public void Consume(int most)
        {
            int count = 0;
            while (!_isStopped && count < most && _pending.TryPeek(out ulong command))
            {
                _isStopped = command == Illegal;
                if (_isStopped) break;
                _expected.Add(_pending.Dequeue());
                if (++_consumed % _entryCount == 0) Laps++;
                count++;
            }

            Assert.Equal(count, Ring.Consume(Unit, most));
        }

        /// <summary>Puts a good command in the place of the one that stopped the ring, if one did.</summary>
        public bool Repair()
        {
            if (!_isStopped) return false;
            _memory.Port.Write64(_form.AddressOf(First, _consumed, _entryCount), Harmless);
            ulong[] rest = [.. _pending.Skip(1)];
            _pending.Clear();
            _pending.Enqueue(Harmless);
            foreach (ulong command in rest) _pending.Enqueue(command);
            _isStopped = Unit.IsStopped = false;
            return true;
        }

        /// <summary>Off and on: what was not consumed is forgotten, and both begin at 0. An error stands.</summary>
        public int Restart()
        {
            Ring.Switch(isOn: false, consumer: 0);
            Assert.Equal(0, Ring.Consume(Unit, 10));
            Ring.Producer = 0;
            Ring.Switch(isOn: true, consumer: 0);
            _pending.Clear();
            _written = _consumed = 0;
            _isStopped = Unit.IsStopped = false;
            return 1;
        }

        public void Check()
        {
            Assert.Equal(_expected, Unit.Consumed);
            Assert.Equal(_form.PositionOf(_consumed, _entryCount), Ring.Consumer);
            Assert.Equal(_pending.Count != 0, Ring.HasPending);
            Assert.Equal(!_isStopped, Ring.IsRunning);
            Assert.Equal(_pending.Count == _form.Room(_entryCount), Ring.Layout.IsFull(Ring.Producer, Ring.Consumer));
        }

        public void Dispose() => _memory.Dispose();
    }
}
