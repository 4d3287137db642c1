using Harness.Foreign;
using Harness.Passing;
using Harness.Running;
using Harness.Scenarios;
using Platform;

namespace Properties.Sequences;

/// <summary>Machines in whose memory software writes other words than it means to.</summary>
/// <param name="inner">The machines.</param>
/// <param name="edit">Given the address and the value of each write of 64 bits; what is written in its place.</param>
internal sealed class EditsMemory(IBench inner, Func<PhysAddr, ulong, ulong> edit) : IBench
{
    public string Describe(Topology topology) => inner.Describe(topology);

    public IVtdMachine Open(Topology topology) => new Machine(inner.Open(topology), edit);

    public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean) => inner.Close(((Machine)machine).Right, touched, isClean);

    public void Dispose() => inner.Dispose();

    private sealed class Machine(IVtdMachine right, Func<PhysAddr, ulong, ulong> edit) : IVtdMachine
    {
        public IVtdMachine Right => right;

        public string Name => right.Name;

        public PhysRange Window => right.Window;

        public IPhysicalMemory Memory { get; } = new Edited(right.Memory, edit);

        public IMmio Registers => right.Registers;

        public IReadOnlyList<IDmaDevice> Devices => right.Devices;

        public void Dispose() => right.Dispose();
    }

    private sealed class Edited(IPhysicalMemory inner, Func<PhysAddr, ulong, ulong> edit) : PassingMemory(inner)
    {
        public override void Write64(PhysAddr address, ulong value) => Inner.Write64(address, edit(address, value));
    }
}
