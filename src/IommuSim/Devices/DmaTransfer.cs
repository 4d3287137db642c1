using Platform;

namespace IommuSim;

/// <summary>How far an access has come.</summary>
public enum AccessOutcome
{
    /// <summary>It waits for a page that it asked for.</summary>
    Stalled,

    /// <summary>Every byte was transferred.</summary>
    Completed,

    /// <summary>It is over, and not every byte was transferred.</summary>
    Failed,
}

/// <summary>A transfer of an <see cref="AtsDevice{TMemory,TSteps}"/>, which may be over or wait.</summary>
/// <remarks>
/// <b>Threads.</b> Any number may look at it. Look at <see cref="Outcome"/> first: once that is not
/// <see cref="AccessOutcome.Stalled"/> nothing changes any more.
/// </remarks>
public sealed class DmaTransfer
{
    private readonly byte[] _bytes;
    private int _outcome;
    private int _bytesDone;

    internal DmaTransfer(Iova address, DeviceAccess access, byte[] bytes, PasidPrefix? prefix)
    {
        Address = address;
        Access = access;
        Prefix = prefix;
        _bytes = bytes;
    }

    /// <summary>Where it begins.</summary>
    public Iova Address { get; }

    /// <summary>Read or write.</summary>
    public DeviceAccess Access { get; }

    /// <summary>The PASID prefix of its requests; null for none.</summary>
    public PasidPrefix? Prefix { get; }

    /// <summary>How far it has come.</summary>
    public AccessOutcome Outcome => (AccessOutcome)Volatile.Read(ref _outcome);

    /// <summary>How many bytes were transferred, from the first on.</summary>
    public int BytesDone => Volatile.Read(ref _bytesDone);

    /// <summary>
    /// Why it does not go on, or why it has failed, in the unit's numbers: of a page that was asked for the fault that the translation
    /// request met, which the unit does not record. 0 where no memory answered, and where the unit does not translate at all and so
    /// answers no translation request. Behind a VT-d <see cref="VtdReasons"/> gives it its name.
    /// </summary>
    public FaultCode Fault { get; private set; }

    /// <summary>The first address that was not transferred; meaningless if it is completed.</summary>
    public Iova FaultAddress => new(unchecked(Address.Value + (ulong)_bytesDone));

    /// <summary>What was transferred.</summary>
    public ReadOnlySpan<byte> Data => _bytes.AsSpan(0, BytesDone);

    internal int BytesLeft => _bytes.Length - _bytesDone;

    internal Span<byte> Remaining => _bytes.AsSpan(_bytesDone);

    internal void Advance(int byteCount) => Volatile.Write(ref _bytesDone, _bytesDone + byteCount);

    internal void Stall(FaultCode fault) => Fault = fault;

    internal void Complete()
    {
        Fault = default;
        Volatile.Write(ref _outcome, (int)AccessOutcome.Completed);
    }

    internal void Fail(FaultCode fault)
    {
        Fault = fault;
        Volatile.Write(ref _outcome, (int)AccessOutcome.Failed);
    }
}
