using FsCheck.Xunit;
using Platform;
using Vcmm.Spec;

namespace Properties.Values;

/// <summary>Laws of addresses and ranges, of the library's and of the model's.</summary>
[Properties(MaxTest = 2000, Replay = Replay)]
public sealed class RangeLaws
{
    internal const string Replay = "(1126,20261)";

    [Property]
    public void A_range_has_the_length_that_it_was_made_of(ulong first, ulong byteCount)
    {
        byteCount = Math.Max(1, byteCount >> 1);
        first >>= 1;
        Assert.Equal(byteCount, IovaRange.FromLength(new(first), byteCount).ByteCount);
        Assert.Equal(byteCount, PhysRange.FromLength(new(first), byteCount).ByteCount);
        Assert.Equal(first + byteCount - 1, IovaRange.FromLength(new(first), byteCount).Last.Value);
    }

    [Property]
    public void The_top_of_the_space_can_be_said(ulong byteCount)
    {
        ulong first = unchecked(0 - Math.Max(1, byteCount));
        var range = IovaRange.FromLength(new(first), Math.Max(1, byteCount));
        Assert.Equal(ulong.MaxValue, range.Last.Value);
        Assert.True(range.Contains(new Iova(ulong.MaxValue)));
        if (first > 0) Assert.Throws<OverflowException>(() => IovaRange.FromLength(new(first), Math.Max(1, byteCount) + 1));
    }

    [Property]
    public void Ranges_overlap_if_they_share_a_byte(byte a, byte b, byte c, byte d)
    {
        var (one, other) = (Order(a, b), Order(c, d));
        bool share = Enumerable.Range(0, 256).Any(at => at >= one.First && at <= one.Last && at >= other.First && at <= other.Last);
        Assert.Equal(share, Iovas(one).Overlaps(Iovas(other)));
        Assert.Equal(share, Phys(one).Overlaps(Phys(other)));
        Assert.Equal(share, Spec(one).Overlaps(Spec(other)));
        Assert.Equal(share, Spec(other).Overlaps(Spec(one)));
    }

    [Property]
    public void A_range_contains_another_if_it_contains_each_byte_of_it(byte a, byte b, byte c, byte d)
    {
        var (one, other) = (Order(a, b), Order(c, d));
        bool all = Enumerable.Range(0, 256).All(at => at < other.First || at > other.Last || (at >= one.First && at <= one.Last));
        Assert.Equal(all, Iovas(one).Contains(Iovas(other)));
        Assert.Equal(all, Phys(one).Contains(Phys(other)));
        Assert.Equal(all, Spec(one).Contains(Spec(other)));
    }

    [Property]
    public void An_address_is_aligned_if_the_remainder_is_zero(ulong address, byte log2)
    {
        ulong alignment = 1UL << (log2 % 64);
        Assert.Equal(address % alignment == 0, new Iova(address).IsAligned(alignment));
        Assert.Equal(address % alignment == 0, new PhysAddr(address).IsAligned(alignment));
    }

    [Property]
    public void A_range_that_ends_before_it_starts_is_refused(ulong first, ulong last)
    {
        if (last >= first) return;
        Assert.Throws<ArgumentException>(() => new IovaRange(new(first), new(last)));
        Assert.Throws<ArgumentException>(() => new PhysRange(new(first), new(last)));
        Assert.Throws<ArgumentException>(() => new AddressRange(first, last));
    }

    [Property]
    public void Names_of_objects_are_read_as_they_were_written(byte kind, ushort number)
    {
        var id = new ObjectId(Enum.GetValues<ObjectKind>()[kind % 5], number);
        Assert.True(ObjectId.TryParse(id.ToString(), out ObjectId read));
        Assert.Equal(id, read);
    }

    private static (int First, int Last) Order(byte a, byte b) => (Math.Min(a, b), Math.Max(a, b));

    private static IovaRange Iovas((int First, int Last) range) => new(new((ulong)range.First), new((ulong)range.Last));

    private static PhysRange Phys((int First, int Last) range) => new(new((ulong)range.First), new((ulong)range.Last));

    private static AddressRange Spec((int First, int Last) range) => new((ulong)range.First, (ulong)range.Last);
}
