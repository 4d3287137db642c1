using Explorer.Scheduling;
using Microsoft.Coyote.Rewriting;
using Platform;
using static System.Buffers.Binary.BinaryPrimitives;

namespace Explorer.Machines;

/// <summary>How far what one agent writes may lag behind for others.</summary>
public enum MemoryModel
{
    /// <summary>Each write is seen by all at once.</summary>
    Sequential,

    /// <summary>What a processor writes stays in its store buffer for a while. Walkers snoop the caches.</summary>
    StoreBuffers,

    /// <summary>The same, and what has left the buffer is seen by walkers only once its line is written back.</summary>
    NonCoherentWalks,
}

/// <summary>Who accesses memory.</summary>
public enum MemorySide
{
    /// <summary>A thread; each has a store buffer. Its name is <see cref="Attempt.Agent"/>.</summary>
    Processor,

    /// <summary>A device, or a walker, that snoops the caches.</summary>
    Device,

    /// <summary>A walker: it snoops the caches or does not, as the model has it.</summary>
    Walker,
}

/// <summary>
/// Memory as weak as <see cref="IPhysicalMemory"/> allows: stores wait in the buffer of the processor that made them and leave it in
/// order; loads find the processor's own stores first; a compare-exchange and a fence empty the buffer. A walker that does not snoop sees a
/// store for certain once it was cleaned and the cleaning fenced, and perhaps before, because a cache may write a line back at any time.
/// </summary>
/// <remarks>
/// <para>When a store leaves its buffer, and when a line is written back, matters only to whoever reads the word. So it is decided there:
/// a read of a word that is under way chooses how much of it has arrived, as a part of the schedule. Everything that a task of its own
/// for each buffer could do is reached, at no cost where nothing is under way.</para>
/// <para>Registers are not ordered with stores at all: a doorbell may ring before the store in front of it has left the buffer, as with
/// relaxed accesses on Arm and RISC-V. <see cref="IMmio"/> promises more; software that fences does not need the promise.</para>
/// <para>Of a lock it cannot be told who had it before. So where <paramref name="processorsSynchronize"/> is set, as it is for the library,
/// a processor that reads what is in another's buffer makes it leave: what lags, lags for devices and walkers alone.</para>
/// <para>Not rewritten: what is done here is one step, at the scheduling point of the caller.</para>
/// <para><b>Source.</b> Intel SDM volume 3, "Memory Ordering" and "CLFLUSHOPT", "CLWB"; Owens, Sarkar, Sewell, "A Better x86 Memory
/// Model: x86-TSO", 2009; VT-d specification, Extended Capability Register, field C.</para>
/// </remarks>
/// <param name="pool">The memory itself.</param>
/// <param name="model">Not <see cref="MemoryModel.Sequential"/>.</param>
/// <param name="processorsSynchronize">Whether processors see one another's stores at once.</param>
[SkipRewriting("A step of memory is one step.")]
public sealed class WeakMemory(MemoryPool pool, MemoryModel model, bool processorsSynchronize)
{
    /// <summary>A store left its buffer only after somebody had read what it replaces.</summary>
    public const string ReadBehindBuffer = "a read overtook a store in a buffer";

    /// <summary>A walker read what a cache had newer.</summary>
    public const string ReadUnclean = "a walk read what was not written back";

    private const int Capacity = 64;
    private const ulong WordBytes = sizeof(ulong);
    private const ulong FrameBytes = 4096;

    // Tasks of a schedule that was ended are unwound all at once; see Attempt.
    private readonly object _gate = new();
    private readonly List<StoreBuffer> _buffers = [];
    private readonly WrittenBack? _walkers = model == MemoryModel.NonCoherentWalks ? new() : null;
    private long _issued;
    private bool _isRunning;

    /// <summary>Told of states that were reached.</summary>
    public Action<string>? Reached { get; init; }

    /// <summary>
    /// Whether the schedule is over: what its tasks still do while they are unwound reaches no memory, since the next schedule has it already.
    /// </summary>
    public Func<bool> IsOver { get; init; } = static () => false;

    /// <summary>A fence that is left out on purpose: given the youngest store in the buffer. Null leaves out none.</summary>
    public Func<PhysAddr, bool>? LeavesOutFence { get; init; }

    /// <summary>A cleaning that is left out on purpose: given the range and the word at its start. Null leaves out none.</summary>
    public Func<PhysRange, ulong, bool>? LeavesOutClean { get; init; }

    /// <summary>From here on stores may lag. Before, and after <see cref="End"/>, all see everything at once.</summary>
    public void Begin() => _isRunning = true;

    /// <summary>Everything arrives.</summary>
    public void End()
    {
        lock (_gate)
        {
            foreach (StoreBuffer buffer in _buffers) Drain(buffer, buffer.Stores.Count);
            _isRunning = false;
            _buffers.Clear();
            _walkers?.Clear();
        }
    }

    /// <summary>Reads the word at a multiple of eight.</summary>
    public ulong Load(MemorySide side, PhysAddr word)
    {
        // Nothing is under way where no threads run.
        if (!_isRunning) return Present(word);
        // Looking on is no reading: it finds what was written last and changes nothing.
        if (Controlled.IsQuiet) return Newest(word);
        string? self = side == MemorySide.Processor ? Attempt.Agent : null;
        Arrive(word, self);
        if (side == MemorySide.Walker && _walkers is not null) LetWriteBack(word);
        lock (_gate)
        {
            ulong value = side == MemorySide.Walker && _walkers is not null ? _walkers.Seen(word, Present(word)) : Present(word);
            if (self is null) Tell(word, value);
            return self is null ? value : Forward(BufferOf(self), word, value);
        }
    }

    /// <summary>Writes the bytes of <paramref name="mask"/> in the word at a multiple of eight.</summary>
    public void Store(MemorySide side, PhysAddr word, ulong mask, ulong value, IMemoryObserver observer)
    {
        // What is under way may arrive before what hardware writes, or after and in its place.
        if (side != MemorySide.Processor && _isRunning) Arrive(word, null);
        lock (_gate)
        {
            var store = new PendingStore(word, mask, value, ++_issued, observer);
            if (side != MemorySide.Processor || !_isRunning)
            {
                Apply(store, side == MemorySide.Processor ? Attempt.Agent : null);
                return;
            }

            StoreBuffer own = BufferOf(Attempt.Agent);
            own.Stores.Add(store);
            observer.WordBuffered(word, store.Into(Forward(own, word, Present(word))));
            if (own.Stores.Count > Capacity) Drain(own, 1);
        }
    }

    /// <summary>Whether writing that would change anything for anybody, now or later.</summary>
    public bool WouldChange(PhysAddr word, ulong mask, ulong value)
    {
        lock (_gate) return (Present(word) & mask) != value || IsUnderWay(word);
    }

    /// <summary>Writes if the bytes of <paramref name="mask"/> are <paramref name="comparand"/>; the word as it was found.</summary>
    public ulong CompareExchange(MemorySide side, PhysAddr word, ulong mask, ulong value, ulong comparand, IMemoryObserver observer)
    {
        if (side == MemorySide.Processor) Order();
        if (_isRunning && !Controlled.IsQuiet) Arrive(word, side == MemorySide.Processor ? Attempt.Agent : null);
        lock (_gate)
        {
            ulong found = Present(word);
            if ((found & mask) == comparand)
                Apply(new(word, mask, value, ++_issued, observer), side == MemorySide.Processor ? Attempt.Agent : null);
            return found;
        }
    }

    /// <summary>Reads bytes.</summary>
    public void Read(MemorySide side, PhysAddr address, Span<byte> destination) => Read(address, destination, word => Load(side, word));

    private static void Read(PhysAddr address, Span<byte> destination, Func<PhysAddr, ulong> load)
    {
        for (int i = 0; i < destination.Length;)
        {
            int offset = (int)((address.Value + (ulong)i) % WordBytes), count = Math.Min((int)WordBytes - offset, destination.Length - i);
            ulong value = load(address + (ulong)(i - offset));
            for (int at = 0; at < count; at++) destination[i + at] = unchecked((byte)(value >> (8 * (offset + at))));
            i += count;
        }
    }

    /// <summary>Writes bytes. From a processor they come after all that it wrote before, and do not lag.</summary>
    public void Write(MemorySide side, PhysAddr address, ReadOnlySpan<byte> source)
    {
        lock (_gate)
        {
            string? self = side == MemorySide.Processor ? Attempt.Agent : null;
            if (self is not null && !_isRunning)
            {
                WriteAtRest(address, source);
                return;
            }

            if (self is not null) Drain(BufferOf(self), int.MaxValue);
            for (int i = 0; i < source.Length;)
            {
                int offset = (int)((address.Value + (ulong)i) % WordBytes), count = Math.Min((int)WordBytes - offset, source.Length - i);
                (ulong mask, ulong value) = count == sizeof(ulong) ? (ulong.MaxValue, ReadUInt64LittleEndian(source[i..])) : Part(source.Slice(i, count), offset);

                PhysAddr word = address + (ulong)(i - offset);
                if ((Present(word) & mask) != value || self is null) Apply(new(word, mask, value, ++_issued, null), self);
                i += count;
            }
        }
    }

    private void WriteAtRest(PhysAddr address, ReadOnlySpan<byte> source)
    {
        while (source.Length != 0 && !IsOver())
        {
            // A frame that stays as it is need not be made zero again.
            int count = (int)Math.Min(FrameBytes - (address.Value % FrameBytes), (ulong)source.Length);
            if (!pool.Holds(address, source[..count]))
            {
                pool.Touch(address);
                pool.Port.Write(address, source[..count]);
            }

            address += (ulong)count;
            source = source[count..];
        }
    }

    private static (ulong Mask, ulong Value) Part(ReadOnlySpan<byte> bytes, int offset)
    {
        ulong mask = 0, value = 0;
        for (int at = 0; at < bytes.Length; at++)
        {
            mask |= 0xFFUL << (8 * (offset + at));
            value |= (ulong)bytes[at] << (8 * (offset + at));
        }

        return (mask, value);
    }

    /// <summary>Bytes as all of them will be in the end, for who looks on.</summary>
    public void Peek(PhysAddr address, Span<byte> destination)
    {
        lock (_gate)
        {
            if (_buffers.Count != 0 && _buffers.Exists(static buffer => buffer.Stores.Count != 0)) Read(address, destination, Newest);
            else pool.Port.Read(address, destination);
        }
    }

    /// <summary>Writes whole words at once, and nothing that was written there before comes after: for who puts marks on memory that was handed out.</summary>
    public void Overwrite(PhysAddr address, ReadOnlySpan<byte> source)
    {
        PhysRange range = PhysRange.FromLength(address, (ulong)source.Length);
        lock (_gate)
        {
            foreach (StoreBuffer buffer in _buffers) buffer.Stores.RemoveAll(store => range.Contains(store.Word));
            Write(MemorySide.Device, address, source);
        }
    }

    /// <summary>The lines of the range are on their way to where walkers read; a fence makes sure of it.</summary>
    public void Clean(PhysRange range)
    {
        if (_walkers is null || !_isRunning) return;
        lock (_gate)
        {
            StoreBuffer own = BufferOf(Attempt.Agent);
            if (LeavesOutClean?.Invoke(range, Forward(own, range.First, Present(range.First))) == true) return;
            own.Cleans.Add(new(range, _issued, _walkers.Now));
        }
    }

    /// <summary>Whether a fence of the calling processor has something to order.</summary>
    public bool HasToOrder()
    {
        if (!_isRunning) return false;
        lock (_gate)
        {
            StoreBuffer own = BufferOf(Attempt.Agent);
            return own.Cleans.Count != 0 || own.Stores.Count != 0;
        }
    }

    /// <summary>A fence of the calling processor.</summary>
    public void Fence()
    {
        if (!_isRunning) return;
        if (LeavesOutFence is not null)
        {
            lock (_gate)
            {
                StoreBuffer own = BufferOf(Attempt.Agent);
                if (own.Stores.Count != 0 && LeavesOutFence(own.Stores[^1].Word)) return;
            }
        }

        Order();
    }

    private void Order()
    {
        if (!_isRunning) return;
        lock (_gate)
        {
            StoreBuffer own = BufferOf(Attempt.Agent);
            Drain(own, own.Stores.Count);
            foreach (PendingClean clean in own.Cleans) _walkers!.Clean(clean, own.Agent);
            own.Cleans.Clear();
        }
    }

    /// <summary>Chooses how many of the stores to a word have arrived, of all buffers but one's own.</summary>
    private void Arrive(PhysAddr word, string? self)
    {
        while (true)
        {
            StoreBuffer[] others;
            lock (_gate)
            {
                if (!IsUnderWay(word)) return;
                others = [.. _buffers.Where(buffer => buffer.Agent != self && buffer.Has(word))];
            }

            if (others.Length == 0) return;
            int choice;
            if (self is null || !processorsSynchronize)
            {
                choice = Controlled.Choose(others.Length + 1) - 1;
                if (choice < 0) return;
            }
            else
            {
                // In the order in which they were made: whoever reads holds a lock that whoever wrote has let go, or none.
                choice = Array.IndexOf(others, others.MinBy(buffer => buffer.FirstTo(word).Issued));
            }

            lock (_gate) Drain(others[choice], others[choice].Stores.FindIndex(store => store.Word == word) + 1);
        }
    }

    /// <summary>Chooses how much of what caches have newer has been written back.</summary>
    private void LetWriteBack(PhysAddr word)
    {
        int versions;
        lock (_gate) versions = _walkers!.VersionsOf(word);
        if (versions <= 1) return;
        int choice = Controlled.Choose(versions);
        lock (_gate) _walkers.WriteBack(word, choice);
    }

    private void Tell(PhysAddr word, ulong value)
    {
        if (Reached is null) return;
        if (IsUnderWay(word)) Reached(ReadBehindBuffer);
        if (value != Present(word)) Reached(ReadUnclean);
    }

    private ulong Newest(PhysAddr word)
    {
        lock (_gate)
        {
            ulong value = Present(word);
            if (!IsUnderWay(word)) return value;
            foreach (PendingStore store in _buffers.SelectMany(buffer => buffer.Stores).Where(store => store.Word == word).OrderBy(store => store.Issued))
                value = store.Into(value);
            return value;
        }
    }

    /// <summary>Whether some buffer has a store to the word: mostly none does.</summary>
    private bool IsUnderWay(PhysAddr word)
    {
        foreach (StoreBuffer buffer in _buffers)
        {
            if (buffer.Has(word)) return true;
        }

        return false;
    }

    private static ulong Forward(StoreBuffer own, PhysAddr word, ulong value)
    {
        foreach (PendingStore store in own.Stores)
        {
            if (store.Word == word) value = store.Into(value);
        }

        return value;
    }

    private StoreBuffer BufferOf(string agent)
    {
        foreach (StoreBuffer buffer in _buffers)
        {
            if (buffer.Agent == agent) return buffer;
        }

        var added = new StoreBuffer(agent);
        _buffers.Add(added);
        return added;
    }

    private void Drain(StoreBuffer buffer, int count)
    {
        for (count = Math.Min(count, buffer.Stores.Count); count > 0; count--)
        {
            PendingStore store = buffer.Stores[0];
            foreach (StoreBuffer other in _buffers) LetPass(other, buffer, store);
            buffer.Stores.RemoveAt(0);
            Apply(store, buffer.Agent);
        }
    }

    /// <summary>What another has stored in the same word may leave first: of two writes it matters which is last.</summary>
    private void LetPass(StoreBuffer other, StoreBuffer buffer, in PendingStore store)
    {
        PhysAddr word = store.Word;
        while (other != buffer && other.Has(word))
        {
            bool passes = processorsSynchronize ? other.FirstTo(word).Issued < store.Issued : Controlled.Choose(2) == 1;
            if (!passes) return;
            int count = other.Stores.FindIndex(first => first.Word == word) + 1;
            for (int i = 0; i < count; i++) Apply(other.Stores[i], other.Agent);
            other.Stores.RemoveRange(0, count);
        }
    }

    /// <summary>A store takes effect, whoever's step it is in.</summary>
    private void Apply(in PendingStore store, string? processor)
    {
        if (IsOver()) return;
        ulong old = Present(store.Word), now = store.Into(old);
        pool.Touch(store.Word);
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        WriteUInt64LittleEndian(bytes, now);
        pool.Port.Write(store.Word, bytes);
        if (processor is null) _walkers?.Publish(store);
        else if (_isRunning) _walkers?.Add(store, processor, old, now);
        if (store.Observer is null) return;
        string self = Attempt.ActAs(processor ?? Attempt.Agent);
        store.Observer.WordWritten(store.Word, now);
        Attempt.ActAs(self);
    }

    private ulong Present(PhysAddr word)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        pool.Port.Read(word, bytes);
        return ReadUInt64LittleEndian(bytes);
    }
}
