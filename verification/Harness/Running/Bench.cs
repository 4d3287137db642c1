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

/// <summary>QEMU, started once and used again as long as the library leaves it clean.</summary>
public sealed class QemuBench : IBench
{
    /// <summary>The machine that QEMU is; the sizes of its caches are its own.</summary>
    public static Topology Topology { get; } = new() { Devices = 2, MemoryMiB = 8 };

    private QemuVtd? _qemu;

    /// <summary>Transfers that devices made and commands that QEMU was given, so far.</summary>
    public (long Transfers, long Commands) Counts => (_ended.Transfers + (_qemu?.Transfers ?? 0), _ended.Commands + (_qemu?.Commands ?? 0));

    private (long Transfers, long Commands) _ended;

    /// <inheritdoc/>
    public string Describe(Topology topology) => $"QEMU {QemuVtd.Version}: {topology.Outline}";

    /// <inheritdoc/>
    /// <exception cref="BadInputException">The hardware is not that of <see cref="Topology"/>, the sizes of caches apart.</exception>
    public IVtdMachine Open(Topology topology)
    {
        if (topology.Hardware != Topology.Hardware) throw new BadInputException($"topology is {topology.Outline}; on QEMU it is {Topology.Outline}, however much memory of it the library has");
        return _qemu ??= QemuVtd.Start(Topology.Devices.Count, Stamps.Token);
    }

    /// <inheritdoc/>
    public void Close(IVtdMachine machine, IEnumerable<PhysRange> touched, bool isClean)
    {
        if (isClean) _qemu!.Reset();
        else End();
    }

    /// <inheritdoc/>
    public void Dispose() => End();

    private void End()
    {
        _ended = Counts;
        _qemu?.Dispose();
        _qemu = null;
    }
}
