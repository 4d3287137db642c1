using CsCheck;
using Harness.Generating;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Tables;

/// <summary>The table of a device without an MMU against a row of pages.</summary>
public sealed class IdentityTableLaws
{
    private const ulong Page = IdentityTable.GranuleBytes;
    private const int PageCount = 24;
    private static readonly MappingAttributes[] Attributes = [Access.ReadWrite, Access.ReadWriteExecute];

    [Fact]
    public void It_says_exactly_what_was_mapped() =>
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, PageCount - 1], Gen.Int[1, PageCount], Gen.Bool).Array[1, 20].ForAll(
            500,
            calls =>
            {
                var table = new IdentityTable();
                var expected = new MappingAttributes?[PageCount];
                foreach ((int kind, int page, int wanted, bool execute) in calls)
                {
                    int count = Math.Min(wanted, PageCount - page);
                    var range = IovaRange.FromLength(new((ulong)page * Page), (ulong)count * Page);
                    MappingAttributes attributes = Attributes[execute ? 1 : 0];
                    var gather = new InvalidationGather();
                    MappingAttributes?[] before = [.. expected];
                    if (kind == 2)
                    {
                        table.Protect(range, attributes, gather);
                        for (int i = page; i < page + count; i++) expected[i] = expected[i] is null ? null : attributes;
                    }
                    else
                    {
                        table.Unmap(range, gather);
                        Array.Fill(expected, null, page, count);
                    }

                    for (int i = 0; i < PageCount; i++)
                    {
                        if (before[i] != expected[i]) Assert.Contains(gather.Ranges.ToArray(), added => added.Contains(new Iova((ulong)i * Page)));
                    }

                    if (before.SequenceEqual(expected)) Assert.Equal(0, gather.Ranges.Length);
                    if (kind < 2)
                    {
                        table.Map(range.First, [PhysRange.FromLength(new(range.First.Value), range.ByteCount)], attributes, new());
                        Array.Fill(expected, attributes, page, count);
                    }

                    AssertSame(table, expected);
                }
            });

    [Fact]
    public void Every_byte_has_its_own_address_or_the_call_is_a_broken_promise()
    {
        var table = new IdentityTable();
        Assert.Throws<InvalidOperationException>(() => table.Map(new(0), [PhysRange.FromLength(new(Page), Page)], Access.ReadWrite, new()));
        Assert.Throws<InvalidOperationException>(() =>
            table.Map(new(0), [PhysRange.FromLength(new(0), Page), PhysRange.FromLength(new(2 * Page), Page)], Access.ReadWrite, new()));
        Assert.Empty(table.Leaves());
        table.Map(new(0), [PhysRange.FromLength(new(0), Page), PhysRange.FromLength(new(Page), Page)], Access.ReadWrite, new());
        Assert.Throws<InvalidOperationException>(() => table.Map(new(Page), [PhysRange.FromLength(new(Page), Page)], Access.ReadWriteExecute, new()));
        Assert.Single(table.Leaves());
        table.Free();
        Assert.False(table.TryWalk(new(0), out _));
    }

    [Fact]
    public void What_is_not_made_of_granules_or_cannot_be_said_is_refused_and_changes_nothing()
    {
        var table = new IdentityTable();
        var gather = new InvalidationGather();
        ulong last = unchecked(0UL - Page);
        table.Map(new(0), [PhysRange.FromLength(new(0), 2 * Page)], Access.ReadWrite, new());
        foreach (IovaRange cut in (IovaRange[])[new(new(8), new(Page - 1)), new(new(0), new(Page - 9)), new(new(Page + 1), new((2 * Page) + 1))])
        {
            Assert.Throws<ArgumentException>(() => table.Map(cut.First, [new(new(cut.First.Value), new(cut.Last.Value))], Access.ReadWrite, new()));
            Assert.Throws<ArgumentException>(() => table.Unmap(cut, gather));
            Assert.Throws<ArgumentException>(() => table.Protect(cut, Access.ReadWriteExecute, gather));
        }

        Assert.Throws<ArgumentException>(() => table.Map(new(2 * Page), [PhysRange.FromLength(new(2 * Page), Page)], Access.Read, new()));
        Assert.Throws<ArgumentException>(() => table.Protect(IovaRange.FromLength(new(0), Page), Access.Read, gather));
        // From the last page on to the first, and to the last again.
        foreach (ulong end in (ulong[])[Page - 1, ulong.MaxValue])
        {
            PhysRange[] around = [new(new(last), new(ulong.MaxValue)), new(new(0), new(end))];
            Assert.Throws<ArgumentException>("segments", () => table.Map(new(last), around, Access.ReadWrite, new()));
        }

        table.Map(new(4 * Page), [], Access.ReadWrite, new());
        Assert.False(table.TryMerge(IovaRange.FromLength(new(0), 2 * Page), gather));
        Assert.Equal(0, gather.Ranges.Length);
        Assert.Equal([new Leaf(IovaRange.FromLength(new(0), 2 * Page), new(0), Access.ReadWrite)], table.Leaves());
    }

    [Fact]
    public void It_protects_nothing_and_says_so()
    {
        IPageTable table = new IdentityTable();
        foreach (int access in Enumerable.Range(1, 7))
        {
            Assert.Equal((access & 3) == 3, table.CanExpress((Access)access));
            Assert.False(table.CanExpress(new((Access)access, SupervisorOnly: true)));
            Assert.False(table.CanExpress(new((Access)access, Secure: true)));
        }

        Assert.Equal(default, table.Root);
        Assert.Equal(IdentityTable.Format, table.Format);
        Assert.Empty(table.TablePages());
        Assert.False(table.HasDirtyBits);
        Assert.Throws<InvalidOperationException>(() => table.CollectDirty(new(new(0), new(0)), false, [], new()));
        Assert.Throws<InvalidOperationException>(() => table.CollectAccessed(new(new(0), new(0)), false, [], new()));
    }

    [Fact]
    public void The_last_byte_of_memory_can_be_mapped()
    {
        var table = new IdentityTable();
        ulong last = unchecked(0UL - Page);
        table.Map(new(last), [new(new(last), new(ulong.MaxValue))], Access.ReadWrite, new());
        Assert.True(table.TryWalk(new(ulong.MaxValue), out Translation translation));
        Assert.Equal(ulong.MaxValue, translation.Address.Value);
        table.Unmap(new(new(last), new(ulong.MaxValue)), new());
        Assert.Empty(table.Leaves());
    }

    private static void AssertSame(IdentityTable table, MappingAttributes?[] expected)
    {
        for (int i = 0; i < PageCount; i++)
        {
            Assert.Equal(expected[i] is not null, table.TryWalk(new((ulong)i * Page + 5), out Translation translation));
            if (expected[i] is { } attributes) Assert.Equal(((ulong)i * Page + 5, attributes), (translation.Address.Value, translation.Attributes));
        }

        TableAudit audit = table.Audit();
        Assert.Equal(audit.Mapping, table.Leaves());
        Assert.Empty(audit.TablePages);
        Assert.Empty(audit.Malformed);
        for (int i = 1; i < audit.Mapping.Count; i++)
            Assert.False(audit.Mapping[i - 1].Range.Last.Value + 1 == audit.Mapping[i].Range.First.Value && audit.Mapping[i - 1].Attributes == audit.Mapping[i].Attributes);
    }
}
