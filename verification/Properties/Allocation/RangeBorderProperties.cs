using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Allocation;

/// <summary>
/// The range allocator against a list of what is free, in spaces that lie across the borders of its bitmaps and of the nodes above them:
/// words of 64 pages, leaves of 16 MiB, branches of 64 of those below, and the ends of the 64-bit space.
/// </summary>
[Collection(QuickFirst.Last + nameof(RangeBorderProperties))]
public sealed class RangeBorderProperties
{
    private const ulong Page = 4096;
    private const int Worlds = 60;
    private const int Steps = 300;

    private static readonly IovaRange Anywhere = new(new(0), new(ulong.MaxValue));

    /// <summary>The logarithms of what a bit, a word, a leaf and the branches stand for.</summary>
    private static readonly int[] Borders = [6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 63];

    public static TheoryData<int, bool, bool> Scenarios
    {
        get
        {
            var data = new TheoryData<int, bool, bool>();
            for (int seed = 1; seed <= 4; seed++)
            {
                foreach (bool isFull in new[] { false, true })
                {
                    data.Add(seed, isFull, false);
                    data.Add(seed, isFull, true);
                }
            }

            return data;
        }
    }

    /// <summary>Random calls.</summary>
    /// <param name="seed">Of all choices.</param>
    /// <param name="isFull">Whether the space is nearly full: all of it is taken first, and given back piece by piece.</param>
    /// <param name="isOfBytes">Whether some lengths and alignments are not of whole pages.</param>
    [Theory]
    [MemberData(nameof(Scenarios))]
    public void Across_borders_a_range_is_the_first_that_fits(int seed, bool isFull, bool isOfBytes)
    {
        var random = new Random(seed);
        // A mutant that survives runs them all.
        int worlds = UnderMutation.IsOn ? Worlds / 12 : Worlds;
        for (int world = 0; world < worlds; world++) new Run(random, isFull, isOfBytes).Go();
    }

    private sealed class Run
    {
        private readonly Random _random;
        private readonly bool _isOfBytes;
        private readonly ulong _unit;
        private readonly IovaRange _space;
        private readonly RangeAllocator _allocator;
        private readonly FreeRanges _free;
        private readonly List<IovaRange> _live = [];
        private readonly int _takes;

        public Run(Random random, bool isFull, bool isOfBytes)
        {
            _random = random;
            _isOfBytes = isOfBytes;
            _takes = random.Next(20, 60);
            int border = Borders[random.Next(isOfBytes ? 0 : 2, Borders.Length)];
            int unit = random.Next(3) == 0 ? border : Math.Min(border, random.Next(isOfBytes ? 0 : 12, 31));
            if (!isOfBytes) unit = Math.Max(unit, 12);
            _unit = 1UL << unit;
            _space = SpaceAcross(border);
            _allocator = new(_space);
            _free = new(_space);
            if (!isFull) return;
            Assert.Equal(VcmmError.None, _allocator.TryAllocateAt(_space));
            _free.Take(_space);
            _live.Add(_space);
        }

        public void Go()
        {
            for (int step = 0; step < Steps; step++)
            {
                int choice = _random.Next(100);
                if (choice < _takes) Take(choice % 5 == 0);
                else if (choice < _takes + 8) TakeAt();
                else if (choice < _takes + 12) GiveForeign();
                else if (_live.Count != 0 && choice < _takes + 26) GivePart();
                else if (choice >= 95) Sweep();
                else if (choice >= 92) GiveAllIn(Somewhere(), Somewhere());
                else if (_live.Count != 0) Give(_random.Next(_live.Count));
            }

            while (_live.Count != 0) Give(_live.Count - 1);
            Assert.Equal(VcmmError.None, _allocator.TryAllocateAt(_space));
        }

        /// <summary>Across a border, at either end of the 64-bit space, or all of it.</summary>
        private IovaRange SpaceAcross(int border)
        {
            UInt128 unit = _unit;
            UInt128 most = (UInt128)1 << 64;
            UInt128 below = unit * (UInt128)_random.Next(1, 200);
            UInt128 above = unit * (UInt128)_random.Next(1, 200);
            (UInt128 first, UInt128 end) = _random.Next(8) switch
            {
                0 => (UInt128.Zero, below),
                1 => (most - UInt128.Min(below, most), most),
                2 => (UInt128.Zero, most),
                3 => (UInt128.Zero, (UInt128)1 << 57),
                _ => (((UInt128)1 << border) - UInt128.Min(below, (UInt128)1 << border), ((UInt128)1 << border) + above),
            };
            return new(new((ulong)first), new((ulong)(UInt128.Min(end, most) - 1)));
        }

        private ulong ByteCount()
        {
            ulong units = _random.Next(4) switch
            {
                0 => 1UL << _random.Next(8),
                1 => (ulong)_random.Next(1, 6),
                2 => (ulong)_random.Next(1, 70),
                _ => (ulong)_random.Next(60, 200),
            };
            UInt128 bytes = units * (UInt128)_unit;
            if (_isOfBytes && _random.Next(3) == 0) bytes += (uint)_random.Next(1, 5000);
            return (ulong)UInt128.Min(bytes, ulong.MaxValue - (Page - 1));
        }

        private ulong Alignment(ulong byteCount)
        {
            if (ulong.IsPow2(byteCount) && _random.Next(2) == 0) return byteCount;
            int log2 = (int)ulong.Log2(_unit) + _random.Next(-2, 9);
            return 1UL << Math.Clamp(log2, _isOfBytes ? 0 : 12, 63);
        }

        /// <summary>Within bounds that begin and end anywhere, and may reach beyond the space.</summary>
        private IovaRange Within()
        {
            if (_random.Next(3) != 0) return Anywhere;
            ulong low = Somewhere();
            ulong high = Somewhere();
            return new(new(Math.Min(low, high)), new(Math.Max(low, high)));
        }

        /// <summary>An address of the space, often at the end of a live range.</summary>
        private ulong Somewhere()
        {
            if (_live.Count != 0 && _random.Next(2) == 0)
            {
                IovaRange range = _live[_random.Next(_live.Count)];
                return _random.Next(2) == 0 ? range.First.Value : range.Last.Value;
            }

            ulong span = _space.Last.Value - _space.First.Value;
            ulong offset = span == ulong.MaxValue ? (ulong)_random.NextInt64() << 1 : (ulong)_random.NextInt64() % (span + 1);
            if (_random.Next(4) != 0) offset -= offset % Math.Min(_unit, Page);
            return _space.First.Value + offset;
        }

        private void Take(bool onlyLooks)
        {
            ulong byteCount = ByteCount();
            ulong alignment = Alignment(byteCount);
            IovaRange within = Within();
            Placement placement = onlyLooks || _random.Next(2) == 0 ? Placement.BottomUp : Placement.TopDown;
            ulong? place = _free.Find(byteCount, alignment, placement, within);
            VcmmError error = onlyLooks
                ? _allocator.TryFind(byteCount, alignment, within, out IovaRange range)
                : _allocator.TryAllocate(byteCount, alignment, placement, within, out range);
            Assert.Equal((place is null ? VcmmError.NoSpace : VcmmError.None, place ?? 0), (error, range.First.Value));
            if (place is null) return;
            Assert.Equal(byteCount - 1, range.Last.Value - range.First.Value);
            if (onlyLooks) return;
            _free.Take(range);
            _live.Add(range);
        }

        /// <summary>
        /// One alignment, longer requests first: what the search learns where nothing fits must not hide what fits a shorter one.
        /// </summary>
        private void Sweep()
        {
            ulong alignment = Alignment(_unit);
            Placement placement = _random.Next(2) == 0 ? Placement.BottomUp : Placement.TopDown;
            var byteCounts = new ulong[10];
            for (int i = 0; i < byteCounts.Length; i++) byteCounts[i] = ByteCount();
            foreach (ulong byteCount in byteCounts.OrderDescending())
            {
                ulong? place = _free.Find(byteCount, alignment, placement, Anywhere);
                VcmmError error = _allocator.TryAllocate(byteCount, alignment, placement, Anywhere, out IovaRange range);
                Assert.Equal((place is null ? VcmmError.NoSpace : VcmmError.None, place ?? 0), (error, range.First.Value));
                if (place is not null) Assert.Equal(VcmmError.None, _allocator.TryFree(range));
            }
        }

        private void TakeAt()
        {
            IovaRange range = Anything();
            bool isFree = _free.IsFree(range);
            Assert.Equal(isFree ? VcmmError.None : VcmmError.NoSpace, _allocator.TryAllocateAt(range));
            if (!isFree) return;
            _free.Take(range);
            _live.Add(range);
        }

        private void GiveForeign()
        {
            IovaRange range = Anything();
            if (!_free.IsTaken(range)) Assert.Equal(VcmmError.Invalid, _allocator.TryFree(range));
        }

        /// <summary>A range of the space, from one of its addresses on.</summary>
        private IovaRange Anything()
        {
            ulong first = Somewhere();
            if (!_isOfBytes) first &= ~(Page - 1);
            return new(new(first), new(first + Math.Min(_space.Last.Value - first, ByteCount() - 1)));
        }

        private void Give(int which)
        {
            IovaRange range = _live[which];
            _live[which] = _live[^1];
            _live.RemoveAt(_live.Count - 1);
            Assert.Equal(VcmmError.None, _allocator.TryFree(range));
            Assert.Equal(VcmmError.Invalid, _allocator.TryFree(range));
            _free.Give(range);
        }

        /// <summary>What was in parts is whole again, whatever is known of the parts.</summary>
        private void GiveAllIn(ulong one, ulong other)
        {
            for (int i = _live.Count - 1; i >= 0; i--)
            {
                if (_live[i].First.Value >= Math.Min(one, other) && _live[i].Last.Value <= Math.Max(one, other)) Give(i);
            }
        }

        /// <summary>The middle of a live range goes; what is left of it is live.</summary>
        private void GivePart()
        {
            int which = _random.Next(_live.Count);
            IovaRange whole = _live[which];
            ulong least = _isOfBytes ? 1 : Page;
            ulong parts = (whole.Last.Value - whole.First.Value) / least;
            if (parts < 2) return;
            ulong first = whole.First.Value + (ulong)_random.NextInt64() % (parts / 2) * least;
            ulong last = first + Math.Min(whole.Last.Value - first, ByteCount() - 1);
            _live[which] = new(new(first), new(last));
            if (first > whole.First.Value) _live.Add(new(whole.First, new(first - 1)));
            if (last < whole.Last.Value) _live.Add(new(new(last + 1), whole.Last));
            Give(which);
        }
    }
}
