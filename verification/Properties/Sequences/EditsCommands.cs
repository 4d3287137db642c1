using Harness.Foreign;
using Harness.Running;
using Harness.Scenarios;
using Platform;

namespace Properties.Sequences;

/// <summary>A command of the invalidation queue: the halves of a descriptor that say something.</summary>
internal readonly record struct QueueCommand(ulong Low, ulong High)
{
    /// <summary>A wait that neither writes nor interrupts.</summary>
    public static QueueCommand Nothing { get; } = new(5, 0);

    public ulong Type => Low & 0xF;

    /// <summary>Device-TLB invalidation, without and with a PASID.</summary>
    public bool IsOfDevice => Type is 3 or 8;
}

/// <summary>Machines that are given other commands than the driver wrote: what one would write that is wrong.</summary>
/// <param name="inner">The machines.</param>
/// <param name="edit">Given the commands that came together; changes them, and not how many there are.</param>
internal sealed class EditsCommands(IBench inner, Action<QueueCommand[]> edit) : IBench
{
    /// <summary>Machines whose queue loses some commands: what a driver would do that forgets to give them.</summary>
    /// <param name="inner">The machines.</param>
    /// <param name="isLost">Given the low half of a descriptor, and those of the descriptors before it that came with it.</param>
    public static EditsCommands Forgetting(IBench inner, Func<ulong, IReadOnlyList<ulong>, bool> isLost) => new(inner, commands =>
    {
        var before = new List<ulong>();
        for (int i = 0; i < commands.Length; i++)
        {
            ulong low = commands[i].Low;
            if (isLost(low, before)) commands[i] = QueueCommand.Nothing;
            before.Add(low);
        }
    });

    /// <summary>Machines where those for devices come before the others.</summary>
    public static EditsCommands DevicesFirst(IBench inner) =>
        new(inner, static commands => commands.OrderBy(static command => !command.IsOfDevice).ToArray().CopyTo(commands, 0));

    public string Describe(Topology topology) => inner.Describe(topology);

    public IVtdMachine Open(Topology topology) => new Machine(inner.Open(topology), edit);

    public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean) => inner.Close(((Machine)machine).Right, touched, isClean);

    public void Dispose() => inner.Dispose();

    private sealed class Machine(IVtdMachine right, Action<QueueCommand[]> edit) : IVtdMachine
    {
        public IVtdMachine Right => right;

        public string Name => right.Name;

        public PhysRange Window => right.Window;

        public IPhysicalMemory Memory => right.Memory;

        public IMmio Registers { get; } = new Queue(right, edit);

        public IReadOnlyList<IDmaDevice> Devices => right.Devices;

        public void Dispose() => right.Dispose();
    }

    private sealed class Queue(IVtdMachine right, Action<QueueCommand[]> edit) : IMmio
    {
        private const uint Head = 0x80, Tail = 0x88, Address = 0x90;
        private const ulong QueueBytes = 4096, WideDescriptors = 1 << 11;

        public uint Read32(uint offset) => right.Registers.Read32(offset);

        public ulong Read64(uint offset) => right.Registers.Read64(offset);

        public void Write32(uint offset, uint value) => right.Registers.Write32(offset, value);

        public void Write64(uint offset, ulong value)
        {
            if (offset == Tail) Edit(value);
            right.Registers.Write64(offset, value);
        }

        private void Edit(ulong tail)
        {
            ulong address = Read64(Address), descriptorBytes = (address & WideDescriptors) != 0 ? 32UL : 16UL;
            var places = new List<PhysAddr>();
            for (ulong at = Read64(Head); at != tail; at = (at + descriptorBytes) % QueueBytes) places.Add(new((address & ~0xFFFUL) + at));
            QueueCommand[] commands = [.. places.Select(place => new QueueCommand(right.Memory.Read64(place), right.Memory.Read64(place + sizeof(ulong))))];
            edit(commands);
            for (int i = 0; i < commands.Length; i++)
            {
                right.Memory.Write64(places[i], commands[i].Low);
                right.Memory.Write64(places[i] + sizeof(ulong), commands[i].High);
            }
        }
    }
}
