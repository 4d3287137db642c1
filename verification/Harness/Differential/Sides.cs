using Harness.Foreign;
using Harness.Running;
using IommuSim;
using Platform;

namespace Harness.Differential;

/// <summary>A fault recording register.</summary>
internal readonly record struct FaultRecord(ulong Low, ulong High)
{
    public bool IsSet => High >> 63 == 1;

    public byte Reason => (byte)(High >> 32 & 0xFF);

    public ulong Page => Low & ~(Ground.PageBytes - 1);

    public uint Source => (uint)(High & 0xFFFF);

    public bool IsRead => (High >> 62 & 1) == 1;

    public override string ToString() => IsSet
        ? $"reason 0x{Reason:x}, {(IsRead ? "read" : "write")} of 0x{Page:x} by 0x{Source:x} (0x{High:x}:0x{Low:x})"
        : "none";
}

/// <summary>What software does to a machine, the same to both: registers and queue.</summary>
internal sealed class Software(IVtdMachine machine, bool isScalable)
{
    private readonly ulong _descriptorBytes = isScalable ? 32UL : 16UL;
    private ulong _tail;

    public IMmio Registers => machine.Registers;

    /// <summary>Makes the queue and the root table known and turns translation on.</summary>
    public void Begin()
    {
        _tail = 0;
        Registers.Write64(Reg.IQT, 0);
        Registers.Write64(Reg.IQA, Ground.Queue | (isScalable ? 1UL << 11 : 0));
        Registers.Write32(Reg.GCMD, Reg.QIE);
        SetRoot(RootValue);
        Registers.Write32(Reg.GCMD, Reg.QIE | Reg.TE);
        Settle();
    }

    /// <summary>The root table pointer of most cases.</summary>
    public ulong RootValue => Ground.Root | (isScalable ? 1UL << 10 : 0);

    public void SetRoot(ulong value)
    {
        Registers.Write64(Reg.RTADDR, value);
        uint lasting = Registers.Read32(Reg.GSTS) & (Reg.TE | Reg.QIE);
        Registers.Write32(Reg.GCMD, lasting | Reg.SRTP);
    }

    public void Settle()
    {
        Put(new(Words.ContextGlobal, 0));
        if (isScalable) Put(new(Words.PasidCacheGlobal, 0));
        Put(new(Words.IotlbGlobal, 0));
        Ring();
    }

    public void Put(QueueWords words)
    {
        byte[] bytes = new byte[_descriptorBytes];
        BitConverter.TryWriteBytes(bytes, words.Low);
        BitConverter.TryWriteBytes(bytes.AsSpan(8), words.High);
        if (isScalable) BitConverter.TryWriteBytes(bytes.AsSpan(16), words.Third);
        machine.Memory.Write(new(Ground.Queue + _tail), bytes);
        _tail = (_tail + _descriptorBytes) % Ground.PageBytes;
    }

    public void Ring() => Registers.Write64(Reg.IQT, _tail);

    /// <summary>Whether the queue has stopped with an error, and its head.</summary>
    public (bool HasError, ulong Head) Queue => ((Registers.Read32(Reg.FSTS) & Reg.IQE) != 0, Registers.Read64(Reg.IQH));

    public ulong Tail => _tail;

    /// <summary>The place before one in the queue.</summary>
    public ulong Before(ulong place) => (place + Ground.PageBytes - _descriptorBytes) % Ground.PageBytes;

    /// <summary>Puts a good descriptor in the place of the one at which the queue has stopped, and lets it go on.</summary>
    public void Repair(ulong head)
    {
        byte[] bytes = new byte[_descriptorBytes];
        BitConverter.TryWriteBytes(bytes, Words.IotlbDomain | 0xFFFFUL << 16);
        machine.Memory.Write(new(Ground.Queue + head), bytes);
        Registers.Write32(Reg.FSTS, Reg.IQE);
        Ring();
    }

    /// <summary>Takes the fault record and the overflow flag, and clears both.</summary>
    public (FaultRecord Record, bool Overflow) TakeFault()
    {
        uint status = Registers.Read32(Reg.FSTS) & (Reg.PFO | Reg.PPF);
        if (status == 0) return default;
        var record = new FaultRecord(Registers.Read64(Reg.FRCD), Registers.Read64(Reg.FRCD + 8));
        Registers.Write64(Reg.FRCD + 8, 1UL << 63);
        if ((status & Reg.PFO) != 0) Registers.Write32(Reg.FSTS, Reg.PFO);
        return (record, (status & Reg.PFO) != 0);
    }
}

/// <summary>The simulator in a case.</summary>
internal sealed class SimulatedSide : IDisposable
{
    private readonly SimulatedVtd _machine;
    private readonly BusMaster<NonCoherentPort<Ram>, EagerSteps>[] _devices;

    public SimulatedSide(RamBlock ram, VtdOptions options, bool isScalable)
    {
        _machine = new(1, options, ram);
        Software = new(_machine, isScalable);
        _devices = [.. Enumerable.Range(0, Ground.DeviceCount).Select(device => new BusMaster<NonCoherentPort<Ram>, EagerSteps>(_machine.Iommu, _machine.DeviceMemory, new(Ground.Source(device))))];
    }

    public Software Software { get; }

    /// <summary>What the unit has done.</summary>
    public VtdStatistics Statistics => _machine.Iommu.Statistics;

    public DmaResult Read(int device, ulong iova, out uint word)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        DmaResult result = _devices[device].Read(new(iova), bytes);
        word = BitConverter.ToUInt32(bytes);
        return result;
    }

    public DmaResult Write(int device, ulong iova, uint word) => _devices[device].Write(new(iova), BitConverter.GetBytes(word));

    public void Dispose() => _machine.Dispose();
}
