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
            if (To < first) return 0;
            // Survives as `(true?0 :(From - first) >> shift)`: performance only, no anchor below is taken where anchors are looked for
            // Survives as `From < first`: equivalent, where the two are the same the difference is 0
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
            ulong fitBytes = GapRequest.FitBytes(gapFirst, gapLast, _request.AlignmentLog2);
            if (_request.IsTopDown)
            {
                // A gap that has an aligned address only between the next place and this gap is too short, and need not be seen.
                ulong place = Math.Max(gapFirst, _request.ByteCount) - _request.ByteCount & ~mask;
                (To, _gapBytes) = (place + (_request.ByteCount - 1), fitBytes);
                // Survives as `place + mask - 1`: performance only, a bound that is two bytes too high is still a bound
                ulong unseen = place + mask + 1;
                // Survives as `unseen <= gapFirst`: equivalent, where the two are the same nothing lies between
                if (unseen < gapFirst)
                {
                    _gapFirst = unseen;
                    // Survives as `gapFirst + unseen`: performance only, a bound that is too high is still a bound
                    _gapBytes = Math.Max(fitBytes, gapFirst - unseen);
                }
            }
            else
            {
                // Survives as `gapLast & mask`: performance only, what lies behind the gap without an aligned address is looked at, too
                (From, _gapBytes) = (gapLast | mask, fitBytes);
            }

            See(_gapBytes);
        }
    }

    /// <summary>Begins with a slot.</summary>
    /// <returns>For <see cref="Leave"/>.</returns>
    public ulong Enter(ulong first, ulong last)
    {
        ulong before = LongestBytes;
        // Survives as `(true?_gapBytes :0)` and as `_gapLast >= first || …`: performance only, a bound that is too high is still a bound
        // Survives as `_gapFirst < last`: equivalent, a gap passed from above that begins with the last address of a slot has no aligned one there
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
}
