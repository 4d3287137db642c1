using Platform;
using Vcmm.Allocation;

namespace Vcmm.Tables;

/// <summary>
/// Frames set aside for table pages before a mapping becomes visible, so that filling the table cannot run out of memory
/// half way.
/// </summary>
/// <remarks><b>Threads.</b> One at a time.</remarks>
public sealed class TablePagePool
{
    /// <summary>Where the last map was.</summary>
    internal TableHint Hint;

    private readonly List<PhysAddr> _pages = [];

    /// <summary>How many pages are set aside.</summary>
    public int Count => _pages.Count;

    /// <summary>Takes frames until <paramref name="count"/> are set aside.</summary>
    /// <param name="frames">Where they come from.</param>
    /// <param name="granuleBytes">The size of a table page.</param>
    /// <param name="count">How many the pool should hold.</param>
    /// <returns><see cref="VcmmError.NoMemory"/> if there are not enough; the pool is then empty.</returns>
    public VcmmError TryFill(IFrameSource frames, ulong granuleBytes, int count)
    {
        ArgumentNullException.ThrowIfNull(frames);
        while (_pages.Count < count)
        {
            VcmmError error = frames.TryAllocate(granuleBytes, out PhysAddr page);
            if (error != VcmmError.None)
            {
                ReturnAll(frames);
                return error;
            }

            _pages.Add(page);
        }

        return VcmmError.None;
    }

    /// <summary>Gives every page back.</summary>
    public void ReturnAll(IFrameSource frames)
    {
        ArgumentNullException.ThrowIfNull(frames);
        foreach (PhysAddr page in _pages) frames.Free(page);
        _pages.Clear();
    }

    internal PhysAddr Take()
    {
        if (_pages.Count == 0) throw new InvalidOperationException("more table pages are needed than were counted");
        PhysAddr page = _pages[^1];
        _pages.RemoveAt(_pages.Count - 1);
        return page;
    }

    internal void Return(PhysAddr page) => _pages.Add(page);
}
