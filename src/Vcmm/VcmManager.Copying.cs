using System.Buffers;
using Platform;

namespace Vcmm;

// Bytes from one reservation to another, through physical memory.
public sealed partial class VcmManager
{
    private const int ChunkBytes = 64 << 10;

    /// <summary>Copies bytes between backed parts of reservations, of one region or two, as if through a buffer.</summary>
    /// <param name="source">Where the bytes come from.</param>
    /// <param name="sourceOffset">From its start, in bytes; any number.</param>
    /// <param name="destination">Where they go to; it may be the source.</param>
    /// <param name="destinationOffset">From its start, in bytes; any number.</param>
    /// <param name="byteCount">Not 0.</param>
    /// <returns>
    /// <see cref="VcmmError.Invalid"/> if a part is not in its reservation, a reservation has ended or is another manager's, or
    /// <see cref="VcmManagerOptions.Memory"/> is null or does not have all of it, as it may be with wrapped memory; <see cref="VcmmError.Fault"/> if a byte is not
    /// backed. Then nothing was copied.
    /// </returns>
    /// <remarks>
    /// What the parts share, because they overlap or because the same memory is behind them, is copied as it was before. What
    /// devices may do does not matter here. A device that writes meanwhile may be seen half way.
    /// </remarks>
    public VcmmError TryCopy(Reservation source, ulong sourceOffset, Reservation destination, ulong destinationOffset, ulong byteCount)
    {
        if (Options.Memory is not { } memory || source.State is not { } from || destination.State is not { } to) return VcmmError.Invalid;
        if (byteCount == 0 || from.Vcm.Manager != this || to.Vcm.Manager != this) return VcmmError.Invalid;
        // Survives as `from.Order < to.Order`: equivalent, two of one order are one
        (ReservationState first, ReservationState second) = from.Order <= to.Order ? (from, to) : (to, from);
        lock (first.Gate)
        {
            lock (second.Gate)
            {
                if (!source.IsCurrent(from) || !destination.IsCurrent(to)) return VcmmError.Invalid;
                if (!IsPart(from, sourceOffset, byteCount) || !IsPart(to, destinationOffset, byteCount)) return VcmmError.Invalid;
                var sources = new List<PhysRange>();
                var destinations = new List<PhysRange>();
                if (!TryCollect(from, sourceOffset, byteCount, sources) || !TryCollect(to, destinationOffset, byteCount, destinations)) return VcmmError.Fault;
                if (!sources.TrueForAll(memory.Contains) || !destinations.TrueForAll(memory.Contains)) return VcmmError.Invalid;
                Copy(memory, sources, destinations, byteCount);
                return VcmmError.None;
            }
        }
    }

    /// <summary>Copies bytes between backed parts of reservations, of one region or two, as if through a buffer.</summary>
    /// <exception cref="VcmmException">As <see cref="TryCopy"/>.</exception>
    public void Copy(Reservation source, ulong sourceOffset, Reservation destination, ulong destinationOffset, ulong byteCount) =>
        VcmmException.ThrowIf(TryCopy(source, sourceOffset, destination, destinationOffset, byteCount), nameof(Copy));

    private static bool IsPart(ReservationState state, ulong offset, ulong byteCount) =>
        byteCount <= state.Range.ByteCount && offset <= state.Range.ByteCount - byteCount;

    /// <summary>The physical memory behind a part, in its order; false if some of it is not backed.</summary>
    private static bool TryCollect(ReservationState state, ulong offset, ulong byteCount, List<PhysRange> runs)
    {
        for (int index = state.Backings.FirstEndingAfter(offset); byteCount != 0; index++)
        {
            if (index == state.Backings.Count || state.Backings[index].Offset > offset) return false;
            Backing backing = state.Backings[index];
            ulong part = Math.Min(byteCount, backing.End - offset);
            foreach (PhysRange run in backing.Memory.Slice(backing.MemoryOffset + (offset - backing.Offset), part, state.Scratch)) runs.Add(run);
            offset += part;
            byteCount -= part;
        }

        return true;
    }

    private static void Copy(IPhysicalMemory memory, List<PhysRange> sources, List<PhysRange> destinations, ulong byteCount)
    {
        // Where the two share memory everything is read before anything is written.
        bool shares = sources.Exists(source => destinations.Exists(source.Overlaps));
        var from = new Cursor(sources);
        var to = new Cursor(destinations);
        if (shares)
        {
            var chunks = new List<byte[]>();
            for (ulong left = byteCount; left != 0; left -= (ulong)chunks[^1].Length)
            {
                chunks.Add(new byte[(int)Math.Min(left, ChunkBytes)]);
                from.Read(memory, chunks[^1]);
            }

            foreach (byte[] chunk in chunks) to.Write(memory, chunk);
            return;
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        while (byteCount != 0)
        {
            int part = (int)Math.Min(byteCount, ChunkBytes);
            from.Read(memory, buffer.AsSpan(0, part));
            to.Write(memory, buffer.AsSpan(0, part));
            byteCount -= (ulong)part;
        }

        ArrayPool<byte>.Shared.Return(buffer);
    }

    /// <summary>A place in a list of runs that moves on as bytes are read or written.</summary>
    private sealed class Cursor(List<PhysRange> runs)
    {
        private int _index;
        private ulong _offset;

        public void Read(IPhysicalMemory memory, Span<byte> bytes)
        {
            while (bytes.Length != 0)
            {
                int part = Take(bytes.Length, out PhysAddr address);
                memory.Read(address, bytes[..part]);
                bytes = bytes[part..];
            }
        }

        public void Write(IPhysicalMemory memory, ReadOnlySpan<byte> bytes)
        {
            while (bytes.Length != 0)
            {
                int part = Take(bytes.Length, out PhysAddr address);
                memory.Write(address, bytes[..part]);
                bytes = bytes[part..];
            }
        }

        private int Take(int most, out PhysAddr address)
        {
            PhysRange run = runs[_index];
            address = run.First + _offset;
            ulong left = run.ByteCount - _offset;
            int part = (int)Math.Min(left, (ulong)most);
            _offset += (ulong)part;
            if ((ulong)part == left)
            {
                _index++;
                _offset = 0;
            }

            return part;
        }
    }
}
