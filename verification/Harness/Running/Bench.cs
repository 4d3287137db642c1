using Harness.Foreign;
using Harness.Scenarios;
using Platform;

namespace Harness.Running;

/// <summary>Gives machines to run scenarios on, one after the other.</summary>
public interface IBench : IDisposable
{
    /// <summary>The machine of a topology, in a few words.</summary>
    string Describe(Topology topology);

    /// <summary>A machine as new.</summary>
    IVtdMachine Open(Topology topology);

    /// <summary>The scenario is over.</summary>
    /// <param name="machine">From <see cref="Open"/>.</param>
    /// <param name="touched">Memory that was used.</param>
    /// <param name="isClean">Whether the library has left the machine as it found it.</param>
    void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean);
}

/// <summary>Simulated machines that share one block of memory, zeroed in between: what a scenario sees depends on nothing before it.</summary>
public sealed class SimulatorBench : IBench
{
    private static readonly byte[] Zeros = new byte[64 << 10];
    private readonly RamBlock _ram = new(SimulatedVtd.MemoryRange);

    /// <inheritdoc/>
    public string Describe(Topology topology) => $"simulator: {topology}";

    /// <inheritdoc/>
    public IVtdMachine Open(Topology topology) => new SimulatedVtd(topology.Devices, topology.ToOptions(), _ram, topology.CoherentWalk, topology.Eagerness);

    /// <inheritdoc/>
    public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean)
    {
        foreach (PhysRange block in touched)
        {
            for (ulong done = 0; done < block.ByteCount; done += (ulong)Zeros.Length)
            {
                int length = (int)Math.Min(block.ByteCount - done, (ulong)Zeros.Length);
                _ram.Port.Write(block.First + done, Zeros.AsSpan(0, length));
            }
        }

        machine.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose() => _ram.Dispose();
}

/// <summary>QEMU, started once for each mode and used again as long as the library leaves it clean.</summary>
public sealed class QemuBench : IBench
{
    /// <summary>The machine that QEMU is; the sizes of its caches are its own.</summary>
    public static Topology Topology { get; } = new() { Devices = 2, MemoryMiB = 8 };

    /// <summary>
    /// The same in scalable mode: it walks second-stage tables there, and takes no PASIDs.
    /// </summary>
    public static Topology ScalableTopology { get; } = Topology with { Mode = RemappingMode.Scalable, FirstStage = false, Pasids = false };

    private readonly Dictionary<RemappingMode, QemuVtd> _machines = [];

    /// <summary>Transfers that devices made and commands that QEMU was given, so far.</summary>
    public (long Transfers, long Commands) Counts =>
        (_ended.Transfers + _machines.Values.Sum(static qemu => qemu.Transfers), _ended.Commands + _machines.Values.Sum(static qemu => qemu.Commands));

    private (long Transfers, long Commands) _ended;

    /// <inheritdoc/>
    public string Describe(Topology topology) => $"QEMU {QemuVtd.Version}: {topology.Outline}";

    /// <inheritdoc/>
    /// <exception cref="BadInputException">The hardware is that of neither topology, the sizes of caches apart.</exception>
    public IVtdMachine Open(Topology topology)
    {
        Topology own = topology.IsScalable ? ScalableTopology : Topology;
        if (topology.Hardware != own.Hardware) throw new BadInputException($"topology is {topology.Outline}; on QEMU it is {own.Outline}, however much memory of it the library has");
        if (!_machines.TryGetValue(own.Mode, out QemuVtd? qemu)) _machines[own.Mode] = qemu = QemuVtd.Start(own.Devices.Count, Stamps.Token, own.IsScalable);
        return qemu;
    }

    /// <inheritdoc/>
    public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean)
    {
        if (isClean) ((QemuVtd)machine).Reset();
        else End((QemuVtd)machine);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (QemuVtd qemu in _machines.Values.ToArray()) End(qemu);
    }

    private void End(QemuVtd qemu)
    {
        _ended = (_ended.Transfers + qemu.Transfers, _ended.Commands + qemu.Commands);
        foreach ((RemappingMode mode, QemuVtd other) in _machines)
        {
            if (other == qemu) _machines.Remove(mode);
        }

        qemu.Dispose();
    }
}
