using System.Globalization;
using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>A domain id of one IOMMU.</summary>
internal readonly record struct UnitDomain(int Unit, int Id)
{
    /// <summary>The same, as the model names domains.</summary>
    public DomainKey Key => new((ulong)Unit << 16 | (uint)Id);

    /// <summary><c>dmar0 domain 5</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"dmar{Unit} domain {Id}");
}

/// <summary><c>map</c>: the range leads to physical memory from <paramref name="Target"/> on.</summary>
internal readonly record struct MapEvent(AddressRange Range, ulong Target);

/// <summary><c>unmap</c>: the entries of the range are cleared, of which <paramref name="ClearedBytes"/> were in use.</summary>
internal readonly record struct UnmapEvent(AddressRange Range, ulong RangeBytes, ulong ClearedBytes);

/// <summary><c>cache_tag_flush_…</c>: what the driver decided to invalidate.</summary>
internal readonly record struct FlushDecision(UnitDomain Domain, AddressRange Range, AddressRange Block)
{
    public bool IsWholeDomain => Range == AddressRange.All;

    /// <summary><c>dmar0 domain 5, 0x1000-0x1fff</c>.</summary>
    public override string ToString() => IsWholeDomain ? $"{Domain}, all of it" : $"{Domain}, {Range}";
}

/// <summary>How much an <c>iotlb_inv</c> descriptor covers.</summary>
internal enum Granularity : byte
{
    Global = 1,
    Domain = 2,
    Page = 3,
}

/// <summary><c>qi_submit: iotlb_inv</c>: what the hardware was told to invalidate.</summary>
internal readonly record struct IotlbDescriptor(Granularity Granularity, UnitDomain Domain, AddressRange Range)
{
    /// <summary>Whether nothing of what was decided is left.</summary>
    public bool Covers(in FlushDecision decision) =>
        Domain.Unit == decision.Domain.Unit
        && (Granularity == Granularity.Global || (Domain.Id == decision.Domain.Id && Range.Contains(decision.Range)));

    /// <summary><c>dmar0 domain 5, 0x1000-0x1fff</c>.</summary>
    public override string ToString() => Granularity switch
    {
        Granularity.Global => string.Create(CultureInfo.InvariantCulture, $"dmar{Domain.Unit}, every domain"),
        Granularity.Domain => $"{Domain}, all of it",
        _ => $"{Domain}, {Range}",
    };
}

/// <summary>Reads the events that the judge knows.</summary>
/// <remarks>
/// <b>Source.</b> Linux, <c>include/trace/events/iommu.h</c> and <c>drivers/iommu/intel/trace.h</c>; Intel VT-d specification,
/// "IOTLB Invalidate Descriptor".
/// </remarks>
internal static class TraceEvents
{
    private const ulong PageBytes = 4096;

    public static MapEvent ReadMap(in TraceLine line)
    {
        var reader = new FieldReader(line.Text, line.Number, "map: ");
        AddressRange range = ReadRange(ref reader, " paddr="u8, out ulong target, out _);
        reader.End("size");
        return new(range, target);
    }

    public static UnmapEvent ReadUnmap(in TraceLine line)
    {
        var reader = new FieldReader(line.Text, line.Number, "unmap: ");
        AddressRange range = ReadRange(ref reader, default, out _, out ulong bytes);
        reader.Literal(" unmapped_size="u8, "unmapped_size");
        ulong cleared = reader.Decimal("unmapped_size", ulong.MaxValue);
        reader.End("unmapped_size");
        return new(range, bytes, cleared);
    }

    /// <returns>False if the tag is of another cache than the IOTLB.</returns>
    public static bool TryReadFlushRange(in TraceLine line, out FlushDecision decision)
    {
        var reader = new FieldReader(line.Text, line.Number, "cache_tag_flush_range: ");
        decision = default;
        int unit = ReadUnit(ref reader);
        reader.Literal(" "u8, "device");
        reader.Word();
        if (!TryReadIotlbTag(ref reader, unit, out UnitDomain domain)) return false;
        reader.Literal(" ["u8, "range");
        ulong first = reader.Hex("range");
        reader.Literal("-"u8, "range");
        FieldReader before = reader;
        ulong last = reader.Hex("range");
        if (last < first) throw before.Bad("range", "an end that is not before its start");
        reader.Literal("] addr "u8, "addr");
        ulong address = reader.Hex("addr");
        reader.Literal(" pages "u8, "pages");
        reader.Hex("pages");
        reader.Literal(" mask "u8, "mask");
        before = reader;
        ulong mask = reader.Hex("mask");
        if (mask > 63) throw before.Bad("mask", "at most 0x3f");
        reader.End("mask");
        decision = new(domain, new(first, last), Block(address, (int)mask));
        return true;
    }

    /// <returns>False if the tag is of another cache than the IOTLB.</returns>
    public static bool TryReadFlushAll(in TraceLine line, out FlushDecision decision)
    {
        bool isIotlb = TryReadTag(line, "cache_tag_flush_all: ", out UnitDomain domain);
        decision = new(domain, AddressRange.All, AddressRange.All);
        return isIotlb;
    }

    /// <returns>False if the tag is of another cache than the IOTLB.</returns>
    public static bool TryReadAssign(in TraceLine line, out UnitDomain domain) => TryReadTag(line, "cache_tag_assign: ", out domain);

    /// <returns>False if the descriptor is of another kind.</returns>
    public static bool TryReadIotlb(in TraceLine line, out IotlbDescriptor descriptor)
    {
        var reader = new FieldReader(line.Text, line.Number, "qi_submit: ");
        descriptor = default;
        if (!reader.TryLiteral("iotlb_inv "u8)) return false;
        int unit = ReadUnit(ref reader);
        reader.Literal(": "u8, "q0");
        FieldReader before = reader;
        ulong low = reader.Hex("q0");
        if ((low & 0xF) != 2) throw before.Bad("q0", "descriptor type 2 (IOTLB) in its lowest 4 bits");
        var granularity = (Granularity)(low >> 4 & 3);
        if (granularity == 0) throw before.Bad("q0", "granularity 1 to 3 in bits 5:4");
        reader.Literal(" "u8, "q1");
        ulong high = reader.Hex("q1");
        reader.Literal(" "u8, "q2");
        reader.Hex("q2");
        reader.Literal(" "u8, "q3");
        reader.Hex("q3");
        reader.End("q3");
        AddressRange range = granularity == Granularity.Page ? Block(high & ~(PageBytes - 1), (int)(high & 0x3F)) : AddressRange.All;
        descriptor = new(granularity, new(unit, (int)(low >> 16 & 0xFFFF)), range);
        return true;
    }

    /// <summary>The naturally aligned block of 2^<paramref name="mask"/> pages around an address.</summary>
    private static AddressRange Block(ulong address, int mask)
    {
        if (mask + 12 >= 64) return AddressRange.All;
        ulong offset = (1UL << mask + 12) - 1;
        return new(address & ~offset, address | offset);
    }

    private static AddressRange ReadRange(ref FieldReader reader, ReadOnlySpan<byte> targetField, out ulong target, out ulong bytes)
    {
        reader.Literal("IOMMU: iova="u8, "iova");
        FieldReader before = reader;
        ulong first = reader.Hex("iova");
        if (first % PageBytes != 0) throw before.Bad("iova", "a multiple of 4096");
        reader.Literal(" - "u8, "iova");
        ulong end = reader.Hex("iova");
        target = 0;
        if (!targetField.IsEmpty)
        {
            reader.Literal(targetField, "paddr");
            before = reader;
            target = reader.Hex("paddr");
            if (target % PageBytes != 0 || target > ulong.MaxValue - unchecked(end - 1 - first))
                throw before.Bad("paddr", "a multiple of 4096 that does not wrap in the range");
        }

        reader.Literal(" size="u8, "size");
        before = reader;
        bytes = reader.Decimal("size", ulong.MaxValue);

        // The end is exclusive: it reads 0 for a range that reaches the top of the address space.
        if (bytes == 0 || bytes % PageBytes != 0 || unchecked(first + bytes) != end || unchecked(end - 1) < first)
            throw before.Bad("size", "the length of the range, a multiple of 4096");
        return new(first, unchecked(end - 1));
    }

    private static bool TryReadTag(in TraceLine line, string name, out UnitDomain domain)
    {
        var reader = new FieldReader(line.Text, line.Number, name);
        int unit = ReadUnit(ref reader);
        reader.Literal("/"u8, "device");
        reader.Word();
        return TryReadIotlbTag(ref reader, unit, out domain);
    }

    private static bool TryReadIotlbTag(ref FieldReader reader, int unit, out UnitDomain domain)
    {
        reader.Literal(" type "u8, "type");
        bool isIotlb = reader.Word() is var type && (type.SequenceEqual("iotlb"u8) || type.SequenceEqual("nesting_iotlb"u8));
        reader.Literal(" did "u8, "did");
        domain = new(unit, (int)reader.Decimal("did", ushort.MaxValue));
        return isIotlb;
    }

    private static int ReadUnit(ref FieldReader reader)
    {
        reader.Literal("dmar"u8, "unit");
        return (int)reader.Decimal("unit", 1023);
    }
}
