using System.Runtime.CompilerServices;

namespace Vcmm.Allocation;

/// <summary>A bitmap of 4,096 granules of a power of two of bytes, each wholly free (1) or wholly taken (0). A slot is a word of it.</summary>
internal sealed class FreeLeaf : FreeNode
{
    /// <summary>A granule of most leaves: a page.</summary>
    public const int PageLog2 = 12;

    private const int WordOrders = SlotBits + 1;

    private Masks _slotsOf;
    private WordArray _words;

    /// <summary>The logarithm of the bytes of a granule.</summary>
    public int Granule => unchecked(Shift - SlotBits);

    /// <summary>A bit for each granule: whether it is free.</summary>
    public Span<ulong> Words => _words;

    public override ulong FreeSlots => _slotsOf[SlotBits];

    public override int Rank
    {
        get
        {
            unchecked
            {
                if (_slotsOf[SlotBits] != 0) return Shift + FreeBits.RunRank(_slotsOf[SlotBits]);
                int rank = 0;
                // Survives as `order <= SlotBits`: equivalent, there is no free slot here, so that the last order adds nothing
                for (int order = 0; order < SlotBits; order++) rank += _slotsOf[order] != 0 ? 1 : 0;
                return rank == 0 ? 0 : Granule + rank;
            }
        }
    }

    /// <summary>Whether <paramref name="rank"/> is that of the leaf; of a leaf with nothing free, or with a free slot, it is not said.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasRank(int rank)
    {
        unchecked
        {
            // Survives as `rank - 1 + Granule`: performance only, a leaf of which it is not said that it has the rank is asked for its own
            int order = rank - 1 - Granule;
            return (uint)order < SlotBits && _slotsOf[order] != 0 && _slotsOf[order + 1] == 0;
        }
    }

    public override bool IsFree(int slot) => Words[slot] == ulong.MaxValue;

    public override ulong SlotsOf(int order) => _slotsOf[Math.Max(0, unchecked(order - Granule))];

    /// <summary>Whether a range, which lies in the leaf, begins and ends with granules.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool HasWhole(ulong first, ulong last) => unchecked((first | (last + 1)) & ((1UL << Granule) - 1)) == 0;

    /// <summary>Frees or takes granules of one word, if they are of one word.</summary>
    /// <param name="first">The first address, which a granule begins with.</param>
    /// <param name="last">The last, which one ends with; not behind the leaf.</param>
    /// <param name="isFree">What all of them must be before; otherwise nothing changes.</param>
    /// <param name="isChanged">Whether all of them were.</param>
    /// <returns>False if they are of more words than one.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryToggle(ulong first, ulong last, bool isFree, out bool isChanged)
    {
        unchecked
        {
            int granule = Granule;
            isChanged = false;
            if ((first ^ last) >> (granule + SlotBits) != 0) return false;
            ulong bits = FreeBits.Between((int)(first >> granule) & 63, (int)(last >> granule) & 63);
            int slot = (int)(first >> (granule + SlotBits)) & 63;
            ulong word = Words[slot];
            // Survives as `false`: performance only, who calls then looks at each word and finds that not all of them were
            if ((isFree ? ~word & bits : word & bits) != 0) return true;
            Store(slot, word ^ bits);
            isChanged = true;
            return true;
        }
    }

    /// <summary>Whether the granules that a range of the leaf touches are all free, or all taken.</summary>
    public bool IsAll(ulong first, ulong last, bool isFree)
    {
        int high = SlotOf(last);
        for (int slot = SlotOf(first); slot <= high; slot++)
        {
            ulong bits = BitsOf(slot, first, last);
            if ((Words[slot] & bits) != (isFree ? bits : 0)) return false;
        }

        return true;
    }

    /// <summary>Frees or takes granules of which all are the opposite.</summary>
    public void Mark(ulong first, ulong last, bool isFree)
    {
        int high = SlotOf(last);
        for (int slot = SlotOf(first); slot <= high; slot++)
        {
            ulong bits = BitsOf(slot, first, last);
            ulong word = Words[slot];
            Store(slot, isFree ? word | bits : word & ~bits);
        }
    }

    /// <summary>All of it free or taken.</summary>
    public void Reset(bool isFree)
    {
        ulong all = isFree ? ulong.MaxValue : 0;
        Words.Fill(all);
        for (int order = 0; order < WordOrders; order++) _slotsOf[order] = all;
    }

    /// <summary>The bits of a word that a range touches.</summary>
    private ulong BitsOf(int slot, ulong first, ulong last)
    {
        unchecked
        {
            // Survives as `first < FirstOf(slot)`: equivalent, the first address of a word is in its bit 0
            int low = first <= FirstOf(slot) ? 0 : (int)(first >> Granule) & 63;
            // Survives as `last > LastOf(slot)`: equivalent, the last address of a word is in its bit 63
            int high = last >= LastOf(slot) ? 63 : (int)(last >> Granule) & 63;
            return FreeBits.Between(low, high);
        }
    }

    private void Store(int slot, ulong word)
    {
        unchecked
        {
            Words[slot] = word;
            // Survives as `word != ulong.MaxValue`: performance only, nobody asks for the bound of a free word, and who takes a part of it has it forgotten then
            if (word == ulong.MaxValue) ForgetBound(slot);
            // The starts of aligned runs of twice as many, step by step; no branch, since what they are is chance.
            Note(0, slot, word);
            word &= word >> 1 & 0x5555_5555_5555_5555;
            Note(1, slot, word);
            word &= word >> 2 & 0x1111_1111_1111_1111;
            Note(2, slot, word);
            word &= word >> 4 & 0x0101_0101_0101_0101;
            Note(3, slot, word);
            word &= word >> 8 & 0x0001_0001_0001_0001;
            Note(4, slot, word);
            word &= word >> 16 & 0x0000_0001_0000_0001;
            Note(5, slot, word);
            word &= word >> 32 & 1;
            Note(6, slot, word);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Note(int order, int slot, ulong starts) =>
        _slotsOf[order] = _slotsOf[order] & ~(1UL << slot) | (starts != 0 ? 1UL : 0UL) << slot;

    [InlineArray(WordOrders)]
    private struct Masks
    {
        private ulong _first;
    }

    [InlineArray(SlotCount)]
    private struct WordArray
    {
        private ulong _first;
    }
}
