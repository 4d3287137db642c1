namespace Vcmm.Allocation;

/// <summary>What a search in a <see cref="FreeTree"/> has left to look at, and what it has seen.</summary>
/// <remarks>
/// A gap that fits holds an aligned block of <see cref="Order"/>, its anchor: the search goes from anchor to anchor, and looks at the gap
/// around each.
/// </remarks>
internal struct FreeSearch
{
    private readonly GapRequest _request;

    // What was passed over last, and the most that could fit there.
    private ulong _gapFirst;
    private ulong _gapLast;
    private ulong _gapBytes;

    public FreeSearch(in GapRequest request)
    {
        _request = request;
        From = request.First;
        To = request.Last;
    }

    /// <summary>Whether every anchor is what is asked for.</summary>
    public readonly bool IsBlock => _request.IsBlock;

    public readonly bool IsTopDown => _request.IsTopDown;

    public readonly ulong ByteCount => _request.ByteCount;

    public readonly int AlignmentLog2 => _request.AlignmentLog2;

    /// <summary>The logarithm of the bytes of an anchor.</summary>
    public readonly int Order => _request.Order;

    /// <summary>Anchors lie from here …</summary>
    public ulong From { get; private set; }

    /// <summary>… to here; below <see cref="From"/>: there are no more.</summary>
    public ulong To { get; private set; }

    /// <summary>The longest of the gaps seen in the slot that is looked at, from its first aligned address on.</summary>
    public ulong LongestBytes { get; private set; }

    /// <summary>What was found.</summary>
    public ulong Place { get; set; }

    /// <summary>Whether the bounds of the request leave all of a slot.</summary>
    public readonly bool IsWithin(ulong first, ulong last) => first >= _request.First && last <= _request.Last;

    /// <summary>Finds the place in a gap.</summary>
    public bool TryFit(ulong gapFirst, ulong gapLast)
    {
        if (!_request.TryFit(gapFirst, gapLast, out ulong place)) return false;
        Place = place;
        return true;
    }

    /// <summary>Of 64 slots or granules from an address on, those in which an anchor may begin.</summary>
    public readonly ulong BitsIn(ulong first, int shift)
    {
        unchecked
        {
            if (From > To || To < first) return 0;
            ulong low = From <= first ? 0 : (From - first) >> shift;
            if (low > 63) return 0;
            ulong high = Math.Min(63, (To - first) >> shift);
            return FreeBits.Between((int)low, (int)high);
        }
    }

    /// <summary>The first anchor in free addresses, or none.</summary>
    public readonly bool TryAnchor(ulong first, ulong last, out ulong anchor)
    {
        unchecked
        {
            ulong low = Math.Max(first, From);
            ulong high = Math.Min(last, To);
            ulong more = (1UL << _request.Order) - 1;
            anchor = 0;
            if (high < low || high - low < more) return false;
            anchor = (_request.IsTopDown ? high - more : low + more) & ~more;
            return anchor >= low && high - anchor >= more;
        }
    }

    /// <summary>A gap does not fit: the search goes on behind it, where an aligned place is.</summary>
    public void Pass(ulong gapFirst, ulong gapLast)
    {
        unchecked
        {
            ulong mask = (1UL << _request.AlignmentLog2) - 1;
            _gapFirst = gapFirst;
            _gapLast = gapLast;
            _gapBytes = GapRequest.FitBytes(gapFirst, gapLast, _request.AlignmentLog2);
            if (_request.IsTopDown)
            {
                // A gap that has an aligned address only between the next place and this gap is too short, and need not be seen.
                bool isLast = gapFirst < _request.ByteCount;
                ulong place = isLast ? 0 : gapFirst - _request.ByteCount & ~mask;
                ulong unseen = isLast ? 0 : place + mask + 1;
                if (unseen >= place && unseen < gapFirst)
                {
                    _gapFirst = unseen;
                    _gapBytes = Math.Max(_gapBytes, gapFirst - unseen);
                }

                if (isLast) Stop();
                else To = place + (_request.ByteCount - 1);
            }
            else
            {
                ulong next = gapLast + 1 + mask & ~mask;
                if (next <= gapLast) Stop();
                else From = next;
            }

            See(_gapBytes);
        }
    }

    /// <summary>Begins with a slot.</summary>
    /// <returns>For <see cref="Leave"/>.</returns>
    public ulong Enter(ulong first, ulong last)
    {
        ulong before = LongestBytes;
        LongestBytes = _gapLast >= first && _gapFirst <= last ? _gapBytes : 0;
        return before;
    }

    /// <summary>Is done with a slot in which nothing fits.</summary>
    /// <returns>The bound of it.</returns>
    public ulong Leave(ulong before)
    {
        ulong bound = Math.Max(LongestBytes, _request.UnseenBytes);
        LongestBytes = Math.Max(before, LongestBytes);
        return bound;
    }

    public void See(ulong byteCount) => LongestBytes = Math.Max(LongestBytes, byteCount);

    private void Stop()
    {
        From = 1;
        To = 0;
    }
}
