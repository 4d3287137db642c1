using Platform;

namespace IommuSim;

/// <summary>A transfer that a device is to make.</summary>
/// <remarks><b>Threads.</b> Any number may look at it; once <see cref="Result"/> is there nothing changes any more.</remarks>
public sealed class DmaRequest
{
    private readonly Memory<byte> _buffer;
    private Over? _result;

    /// <summary>A transfer.</summary>
    /// <param name="address">Where it begins; it wraps at 2^64.</param>
    /// <param name="access">A read fills the buffer from memory, a write does the opposite.</param>
    /// <param name="buffer">The device's own bytes; any number. They are the device's until the transfer is over.</param>
    /// <param name="prefix">The PASID prefix of each request; null for none.</param>
    public DmaRequest(Iova address, DeviceAccess access, Memory<byte> buffer, PasidPrefix? prefix = null)
    {
        Address = address;
        Access = access;
        Prefix = prefix;
        _buffer = buffer;
    }

    /// <summary>Where it begins.</summary>
    public Iova Address { get; }

    /// <summary>Read or write.</summary>
    public DeviceAccess Access { get; }

    /// <summary>The PASID prefix of its requests; null for none.</summary>
    public PasidPrefix? Prefix { get; }

    /// <summary>What it came to; null: it is not over.</summary>
    public DmaResult? Result => Volatile.Read(ref _result)?.Value;

    internal void Run<TMemory, TSteps>(BusMaster<TMemory, TSteps> master)
        where TMemory : struct, IPhysicalMemory
        where TSteps : struct, ISteps
    {
        DmaResult result = Access == DeviceAccess.Read ? master.Read(Address, _buffer.Span, Prefix) : master.Write(Address, _buffer.Span, Prefix);
        Volatile.Write(ref _result, new(result));
    }

    private sealed record Over(DmaResult Value);
}

/// <summary>A device that works off a queue of transfers, one after the other.</summary>
/// <remarks>
/// <para>Nothing runs by itself: whoever plays the device calls <see cref="TryRunNext"/>. A transfer that is blocked does not stop
/// the queue.</para>
/// <para><b>Threads.</b> Any number at once. Each transfer is one caller's; several callers have as many under way.</para>
/// </remarks>
/// <typeparam name="TMemory">The memory behind the IOMMU.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed class DmaQueue<TMemory, TSteps>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private readonly object _gate = new();
    private readonly Queue<DmaRequest> _waiting = [];
    private readonly BusMaster<TMemory, TSteps> _master;
    private readonly int _capacity;

    /// <summary>An empty queue.</summary>
    /// <param name="master">Makes the transfers.</param>
    /// <param name="capacity">How many may wait: 1 ….</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no room for any.</exception>
    public DmaQueue(BusMaster<TMemory, TSteps> master, int capacity = 64)
    {
        ArgumentNullException.ThrowIfNull(master);
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _master = master;
        _capacity = capacity;
    }

    /// <summary>How many wait.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _waiting.Count;
        }
    }

    /// <summary>Puts a transfer at the end.</summary>
    /// <param name="request">The transfer; once only, since it has one result.</param>
    /// <returns>False if there is no room.</returns>
    public bool TryPost(DmaRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        lock (_gate)
        {
            if (_waiting.Count == _capacity) return false;
            _waiting.Enqueue(request);
            return true;
        }
    }

    /// <summary>Makes the oldest transfer that waits.</summary>
    /// <param name="done">The transfer, which is over; null if none waits.</param>
    /// <returns>False if none waits.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Its PASID has more than 20 bits; it is taken from the queue and has no result.</exception>
    public bool TryRunNext(out DmaRequest? done)
    {
        lock (_gate)
        {
            if (!_waiting.TryDequeue(out done)) return false;
        }

        done.Run(_master);
        return true;
    }

    /// <summary>Makes transfers until none waits.</summary>
    /// <returns>How many.</returns>
    /// <exception cref="ArgumentOutOfRangeException">As <see cref="TryRunNext"/>; those behind it wait on.</exception>
    public int RunAll()
    {
        int count = 0;
        while (TryRunNext(out _)) count++;
        return count;
    }

    /// <summary>Forgets what waits, as a reset of the device does; what is under way goes on.</summary>
    public void Reset()
    {
        lock (_gate) _waiting.Clear();
    }
}
