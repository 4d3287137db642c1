using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Cpu;
using Vcmm.Dma;
using Vcmm.Invalidations;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Regions;

/// <summary>What is called with hostile numbers, by type and name; one row is for all overloads of a name.</summary>
internal static class ThinHostileRows
{
    private const ulong Page = ThinHostileWorld.Page;

    private static readonly ulong[] Numbers = ThinHostileWorld.Numbers;
    private static readonly IovaRange[] Ranges = [.. ThinHostileWorld.Pairs.Select(pair => new IovaRange(new(pair.First), new(pair.Last)))];
    private static readonly PhysRange[] Pieces = [.. ThinHostileWorld.Pairs.Where(pair => pair.Last >= 1UL << 52 || pair.Last - pair.First < 1UL << 41).Select(pair => new PhysRange(new(pair.First), new(pair.Last))).Append(new(new(0), new((1UL << 40) - 1)))];
    private static readonly StreamId[] Devices = [new(5), new(1), new(0), new(0xFFFF), new(0x10000), new(uint.MaxValue)];
    /// <summary>Attached to none: that a device is attached elsewhere is the caller's to know.</summary>
    private static readonly StreamId[] Strangers = [new(5), new(0), new(0xFFFF), new(0x10000), new(uint.MaxValue)];
    private static readonly Pasid?[] Pasids = [null, new(0), new(1), new(15), new(16), new(uint.MaxValue)];
    private static readonly DomainId[] Ids = [new(1), new(0), new(2), new(3), new(0x10000), new(uint.MaxValue)];
    private static readonly DmaDirection[] Directions = [DmaDirection.ToDevice, DmaDirection.Bidirectional, (DmaDirection)3, (DmaDirection)255];
    private static readonly TableFormat[] Formats =
        [LedgerIommu.FirstStage, LedgerIommu.SecondStage, IdentityTable.Format, default, new("no such", int.MaxValue, uint.MaxValue), new(X86FirstStage.Encoding, -1, 0b10), new(X86FirstStage.Encoding, 4, uint.MaxValue)];

    private static readonly Type[] Engine = [typeof(ArgumentException), typeof(InvalidOperationException)];

    /// <summary>What takes any number for an answer.</summary>
    public static readonly string[] RefuseNothing =
    [
        "CpuMmu.CanIdentify", "CpuMmu.CanTranslate", "CpuMmu.TracksUse", "CpuMmu.Invalidate", "NoIommu.CanIdentify", "NoIommu.CanTranslate", "NoIommu.TryCreateTable", "NoIommu.ReleaseDomain", "NoIommu.Invalidate",
        "PageTable.CanExpress", "PageTable.Covers", "PageTable.TryWalk", "PageTable.Release", "PageTable.Relink", "InvalidationGather.Add", "TablePagePool.ReturnAll", "BankedFrames.TryFindBank", "SpinUntilDeadline.KeepWaiting", "MemoryRequest.Admits", "RangeAllocator..ctor", "TableFormat.AllowsLeafAt",
    ];

    public static SortedDictionary<string, Action<Trial>> All { get; } = new(StringComparer.Ordinal)
    {
        ["IommuDomain.TryCreate"] = static trial => Each(Formats, format => trial.TryOr<ArgumentException>($"create {format}", world => IommuDomain.TryCreate(world.Iommu, format, world.Frames, out _))),
        ["IommuDomain.Create"] = static trial =>
        {
            Each(Formats, format => trial.Do($"create {format}", world => IommuDomain.Create(world.Iommu, format, world.Frames), typeof(ArgumentException)));
            trial.Do("create of nothing", world => IommuDomain.Create(null!, world.Frames));
        },
        ["IommuDomain.TryAttach"] = static trial => EachDomain(trial, Strangers, Pasids, (domain, device, pasid, said) => trial.Try($"attach {said}", world => domain(world).TryAttach(device, pasid))),
        ["IommuDomain.Attach"] = static trial => EachDomain(trial, Strangers, Pasids, (domain, device, pasid, said) => trial.Do($"attach {said}", world => domain(world).Attach(device, pasid))),
        ["IommuDomain.TryDetach"] = static trial => EachDomain(trial, Devices, Pasids, (domain, device, pasid, said) => trial.Try($"detach {said}", world => domain(world).TryDetach(device, pasid))),
        ["IommuDomain.Detach"] = static trial => EachDomain(trial, Devices, Pasids, (domain, device, pasid, said) => trial.Do($"detach {said}", world => domain(world).Detach(device, pasid))),
        ["IommuDomain.TryTranslate"] = static trial => EachDomain(trial, Numbers, [0], (domain, number, _, said) => trial.Try($"translate {said}", world => domain(world).TryTranslate(new(number), out Translation _))),
        ["IommuDomain.Translate"] = static trial => EachDomain(trial, Numbers, [0], (domain, number, _, said) => trial.Do($"translate {said}", world => domain(world).Translate(new(number)))),
        ["IommuDomain.TryIovaToPhys"] = static trial => EachDomain(trial, Numbers, [0], (domain, number, _, said) => trial.Try($"address of {said}", world => domain(world).TryIovaToPhys(new(number), out PhysAddr _))),
        ["IommuDomain.IovaToPhys"] = static trial => EachDomain(trial, Numbers, [0], (domain, number, _, said) => trial.Do($"address of {said}", world => domain(world).IovaToPhys(new(number)))),
        ["IommuDomain.TryMap"] = static trial =>
        {
            EachDomain(trial, Numbers, Pieces, (domain, first, piece, said) => trial.Try($"map {said}", world => domain(world).TryMap(new(first), piece, Access.ReadWrite)));
            EachDomain(trial, Numbers, Numbers, (domain, number, byteCount, said) =>
            {
                trial.Try($"map {said}", world => domain(world).TryMap(new(number), new PhysAddr(number), byteCount, Access.ReadWrite));
                trial.Try($"map 0, {said}", world => domain(world).TryMap(new(32 * Page), new PhysAddr(number), byteCount, Access.ReadWrite));
            });
            EachDomain(trial, Pieces, Pieces, (domain, one, other, said) => trial.Try($"map both {said}", world => domain(world).TryMap(new(one.First.Value), [one, other], Access.ReadWrite)));
            EachDomain(trial, ThinHostileWorld.Attributes, [0], (domain, attributes, _, said) => trial.Try($"map as {said}", world => domain(world).TryMap(new(32 * Page), PhysRange.FromLength(new(32 * Page), Page), attributes)));
            trial.Try("map nothing", world => world.Domains[0].TryMap(new(0), [], Access.Read));
        },
        ["IommuDomain.Map"] = static trial =>
        {
            EachDomain(trial, Numbers, Pieces, (domain, first, piece, said) => trial.Do($"map {said}", world => domain(world).Map(new(first), piece, Access.ReadWrite)));
            EachDomain(trial, Pieces, Pieces, (domain, one, other, said) => trial.Do($"map both {said}", world => domain(world).Map(new(one.First.Value), [one, other], Access.ReadWrite)));
        },
        ["IommuDomain.TryUnmap"] = static trial =>
        {
            EachDomain(trial, Ranges, [0], (domain, range, _, said) => trial.Try($"unmap {said}", world => domain(world).TryUnmap(range)));
            EachDomain(trial, Ranges, [0, 1, 2, 3, 4], (domain, range, which, said) => trial.Try($"unmap into a gather {said}", world => domain(world).TryUnmap(range, GatherOf(world, which))));
        },
        ["IommuDomain.Unmap"] = static trial => EachDomain(trial, Ranges, [0], (domain, range, _, said) => trial.Do($"unmap {said}", world => domain(world).Unmap(range))),
        ["IommuDomain.TryProtect"] = static trial => EachDomain(trial, Ranges, ThinHostileWorld.Attributes, (domain, range, attributes, said) => trial.Try($"protect {said}", world => domain(world).TryProtect(range, attributes))),
        ["IommuDomain.Protect"] = static trial => EachDomain(trial, Ranges, ThinHostileWorld.Attributes, (domain, range, attributes, said) => trial.Do($"protect {said}", world => domain(world).Protect(range, attributes))),
        ["IommuDomain.TrySync"] = static trial => EachDomain(trial, [0, 1, 2, 3, 4], [0], (domain, which, _, said) => trial.Try($"sync {said}", world => domain(world).TrySync(GatherOf(world, which)))),
        ["IommuDomain.Sync"] = static trial => EachDomain(trial, [0, 1, 2, 3, 4], [0], (domain, which, _, said) => trial.Do($"sync {said}", world => domain(world).Sync(GatherOf(world, which)))),
        ["IommuDomain.TryDefer"] = static trial => EachDomain(trial, [0, 1, 2, 3, 4], [true, false], (domain, which, hasQueue, said) => trial.Try($"defer {said}", world => domain(world).TryDefer(GatherOf(world, which), hasQueue ? world.Queue : null!))),

        ["DmaMapping..ctor"] = static trial => Each([0, 1, 2, 3], missing => trial.Do(
            $"a mapping without {missing}",
            world => _ = new DmaMapping<Ram>(missing == 0 ? null! : world.Domains[0], missing == 1 ? null! : world.Ranges, world.Memory, missing == 2 ? null! : world.Frames))),
        ["DmaMapping.TryMapSingle"] = static trial => Each(Numbers, first => Each(Numbers, byteCount => Each(Directions, direction =>
            trial.Try($"map {first:x} {byteCount:x} {direction}", world => world.Mapping.TryMapSingle(new(first), byteCount, direction, out _))))),
        ["DmaMapping.MapSingle"] = static trial => Each(Numbers, first => Each(Numbers, byteCount => Each(Directions, direction =>
            trial.Do($"map {first:x} {byteCount:x} {direction}", world => world.Mapping.MapSingle(new(first), byteCount, direction))))),
        ["DmaMapping.TryMapScatterGather"] = static trial => Each(Pieces, one => Each(Pieces, other => Each(Directions, direction =>
            trial.Try($"map {one} {other} {direction}", world => world.Mapping.TryMapScatterGather([one, other], direction, out _))))),
        ["DmaMapping.MapScatterGather"] = static trial => Each(Pieces, one => Each(Pieces, other => trial.Do($"map {one} {other}", world => world.Mapping.MapScatterGather([one, other], DmaDirection.ToDevice)))),
        ["DmaMapping.TryUnmap"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Try($"unmap {said}", world => world.Mapping.TryUnmap(address(world), byteCount))),
        ["DmaMapping.Unmap"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Do($"unmap {said}", world => world.Mapping.Unmap(address(world), byteCount))),
        ["DmaMapping.TryFreeCoherent"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Try($"free {said}", world => world.Mapping.TryFreeCoherent(address(world), byteCount))),
        ["DmaMapping.FreeCoherent"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Do($"free {said}", world => world.Mapping.FreeCoherent(address(world), byteCount))),
        ["DmaMapping.SyncForCpu"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Do($"sync {said}", world => world.Mapping.SyncForCpu(address(world), byteCount))),
        ["DmaMapping.SyncForDevice"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Do($"sync {said}", world => world.Mapping.SyncForDevice(address(world), byteCount))),
        ["DmaMapping.TrySyncForCpu"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Try($"sync {said}", world => world.Mapping.TrySyncForCpu(address(world), byteCount))),
        ["DmaMapping.TrySyncForDevice"] = static trial => EachBuffer(trial, (address, byteCount, said) => trial.Try($"sync {said}", world => world.Mapping.TrySyncForDevice(address(world), byteCount))),
        ["DmaMapping.TryAllocateCoherent"] = static trial => Each(Numbers, byteCount => trial.Try($"coherent {byteCount:x}", world => world.Mapping.TryAllocateCoherent(byteCount, out _, out _))),
        ["DmaMapping.AllocateCoherent"] = static trial => Each(Numbers, byteCount => trial.Do($"coherent {byteCount:x}", world => world.Mapping.AllocateCoherent(byteCount))),

        ["FlushQueue..ctor"] = static trial => Each([1, 0, -1, int.MinValue, int.MaxValue], capacity => Each([1, 0, -1, int.MaxValue], at => trial.Do(
            $"a queue of {capacity}, {at}", world => _ = new FlushQueue(new() { Capacity = capacity, FlushAtCount = at }), typeof(ArgumentOutOfRangeException)))),
        ["FlushQueue.TryAdd"] = static trial => Each(Ranges, range => Each(Ids, id =>
        {
            trial.Try($"add {range} {id}", world => world.Queue.TryAdd([new(world.Iommu, id, range, true)], new Nothing()));
            trial.Try($"add {range} {id} for nobody", world => world.Queue.TryAdd([new(null!, id, range, true)], new Nothing()));
            trial.Try($"add {range} {id} of nothing", world => world.Queue.TryAdd([new(world.Iommu, id, range, true)], null!));
        })),

        ["CpuMmu..ctor"] = static trial => Each([true, false], hasPort =>
        {
            trial.Do($"CPUs {hasPort}", world => _ = new CpuMmu<X86FirstStage, Ram>(hasPort ? world.Port : null!, world.Memory));
            trial.Do($"other CPUs {hasPort}", world => _ = new CpuMmu<VtdSecondStage, Ram>(hasPort ? world.Port : null!, world.Memory), typeof(ArgumentException));
        }),
        ["CpuMmu.CanIdentify"] = static trial => Each(Devices, device => trial.Ask($"{device}", world => world.Cpu.CanIdentify(device))),
        ["CpuMmu.CanTranslate"] = static trial => Each(Formats, format => Each(Ranges, range => trial.Ask($"{format} {range}", world => world.Cpu.CanTranslate(format, range)))),
        ["CpuMmu.TracksUse"] = static trial => Each(Formats, format => trial.Ask($"{format}", world => world.Cpu.TracksUse(format))),
        ["CpuMmu.TryCreateTable"] = static trial => Each(Formats, format => trial.TryOr<ArgumentException>($"table {format}", world => world.Cpu.TryCreateTable(format, world.Frames, out _))),
        ["CpuMmu.AdoptTable"] = static trial => Each(Formats, format => Each(Numbers, root => trial.Ask($"adopt {format} {root:x}", world => world.Cpu.AdoptTable(format, new(root)), typeof(ArgumentException)))),
        ["CpuMmu.ReleaseDomain"] = static trial => Each(Ids, id => trial.Do(
            $"release {id} twice",
            world =>
            {
                world.Cpu.ReleaseDomain(id);
                world.Cpu.ReleaseDomain(id);
            },
            typeof(ArgumentException))),
        ["CpuMmu.Attach"] = static trial => Each(Devices, device => Each(Pasids, pasid => Each(Ids, id => Each([0, 1, 2, 3, 4], which =>
            trial.Try($"attach {device} {pasid} {id} {which}", world => world.Cpu.Attach(device, pasid, id, which switch { 3 => world.CpuTable, 4 => null!, _ => world.Tables[which] })))))),
        ["CpuMmu.Detach"] = static trial => Each(Devices, device => Each(Pasids, pasid => Each(Ids, id => trial.Try($"detach {device} {pasid} {id}", world => world.Cpu.Detach(device, pasid, id))))),
        ["CpuMmu.Invalidate"] = static trial => Each(Ranges, range => Each(Ids, id => trial.Try($"forget {range} {id}", world => world.Cpu.Invalidate([new(id, range, true), new(id, range, false)])))),
        ["CpuMmu.EndFault"] = static trial => Each(Numbers, at => trial.Do($"end {at:x}", world => world.Cpu.EndFault(new(new(1), null, new(at), Access.Read, 0), true), typeof(InvalidOperationException))),

        ["NoIommu.CanIdentify"] = static trial => Each(Devices, device => trial.Ask($"{device}", _ => new NoIommu().CanIdentify(device))),
        ["NoIommu.CanTranslate"] = static trial => Each(Formats, format => Each(Ranges, range => trial.Ask($"{format} {range}", _ => new NoIommu().CanTranslate(format, range)))),
        ["NoIommu.TryCreateTable"] = static trial => Each(Formats, format => trial.Ask($"table {format}", world => new NoIommu().TryCreateTable(format, world.Frames, out _))),
        ["NoIommu.AdoptTable"] = static trial => Each(Formats, format => Each(Numbers, root => trial.Ask($"adopt {format} {root:x}", _ => new NoIommu().AdoptTable(format, new(root)), typeof(InvalidOperationException)))),
        ["NoIommu.ReleaseDomain"] = static trial => Each(Ids, id => trial.Ask($"release {id}", _ => new NoIommu().ReleaseDomain(id))),
        ["NoIommu.Attach"] = static trial => Each(Devices, device => Each(Pasids, pasid => trial.Try($"attach {device} {pasid}", world => new NoIommu().Attach(device, pasid, new(1), world.Tables[2])))),
        ["NoIommu.Detach"] = static trial => Each(Devices, device => Each(Pasids, pasid => trial.Try($"detach {device} {pasid}", _ => new NoIommu().Detach(device, pasid, new(1))))),
        ["NoIommu.Invalidate"] = static trial => Each(Ranges, range => trial.Try($"forget {range}", _ => new NoIommu().Invalidate([new(new(1), range, true)]))),
        ["NoIommu.EndFault"] = static trial => Each(Numbers, at => trial.Do($"end {at:x}", _ => new NoIommu().EndFault(new(new(1), null, new(at), Access.Read, 0), true), typeof(InvalidOperationException))),

        ["PageTable.TryCreate"] = static trial => Each(Formats, format => trial.TryOr<ArgumentException>($"table {format}", world => PageTable<X86FirstStage, Ram>.TryCreate(world.Memory, world.Frames, format, out _))),
        ["PageTable.Adopt"] = static trial => Each(Formats, format => Each(Numbers, root => trial.Ask($"adopt {format} {root:x}", world => PageTable<X86FirstStage, Ram>.Adopt(world.Memory, format, new(root)), typeof(ArgumentException)))),
        ["PageTable.CanExpress"] = static trial => EachTable(ThinHostileWorld.Attributes, (table, attributes, said) => trial.Ask(said, world => table(world).CanExpress(attributes))),
        ["PageTable.Covers"] = static trial => EachTable(Ranges, (table, range, said) => trial.Ask(said, world => table(world).Covers(range))),
        ["PageTable.TryWalk"] = static trial => EachTable(Numbers, (table, address, said) => trial.Ask(said, world => table(world).TryWalk(new(address), out _))),
        ["PageTable.CountMissingTables"] = static trial => EachTable(Numbers, (table, first, said) => Each(Pieces, piece => trial.Ask($"count {said} {piece}", world => table(world).CountMissingTables(new(first), [piece, piece]), Engine))),
        ["PageTable.Map"] = static trial =>
        {
            EachTable(Numbers, (table, first, said) => Each(Pieces, piece => trial.Do($"map {said} {piece}", world => Map(world, table(world), first, [piece], Access.ReadWrite), [.. Engine, typeof(MemoryIsOut)])));
            EachTable(Pieces, (table, one, said) => Each(Pieces, other => trial.Do($"map {said} {other}", world => Map(world, table(world), one.First.Value, [one, other], Access.ReadWrite), [.. Engine, typeof(MemoryIsOut)])));
            EachTable(ThinHostileWorld.Attributes, (table, attributes, said) => trial.Do($"map as {said}", world => Map(world, table(world), 32 * Page, [PhysRange.FromLength(new(32 * Page), Page)], attributes), Engine));
        },
        ["PageTable.Release"] = static trial => EachTable([0, 1, 2], (table, which, said) => trial.Ask($"release {said}", world => table(world).Release(OthersChanges(world, which)))),
        ["PageTable.Relink"] = static trial => EachTable([0, 1, 2], (table, which, said) => trial.Ask($"relink {said}", world => table(world).Relink(OthersChanges(world, which)))),
        ["PageTable.Unmap"] = static trial => EachTable(Ranges, (table, range, said) => trial.Do($"unmap {said}", world => table(world).Unmap(range, new()), Engine)),
        ["PageTable.CountSplitTables"] = static trial => EachTable(Ranges, (table, range, said) => trial.Ask($"count {said}", world => table(world).CountSplitTables(range), Engine)),
        ["PageTable.Split"] = static trial => EachTable(Ranges, (table, range, said) => trial.Do(
            $"split {said}",
            world =>
            {
                var pool = new TablePagePool();
                if (range.Overlaps(IovaRange.FromLength(new(ThinHostileWorld.Large), ThinHostileWorld.Large))) pool.TryFill(world.Frames, Page, 2);
                try
                {
                    table(world).Split(range, pool, new());
                }
                finally
                {
                    pool.ReturnAll(world.Frames);
                }
            },
            Engine)),
        ["PageTable.Protect"] = static trial => EachTable(Ranges, (table, range, said) => Each(ThinHostileWorld.Attributes, attributes => trial.Do($"protect {said} {attributes}", world => table(world).Protect(range, attributes, new()), Engine))),
        ["PageTable.TryMerge"] = static trial => EachTable(Ranges, (table, range, said) => trial.Do($"merge {said}", world => table(world).TryMerge(range, new()), Engine)),
        ["PageTable.CollectDirty"] = static trial => EachTable(Ranges, (table, range, said) => Each([true, false], clear => trial.Do($"dirty {said}", world => table(world).CollectDirty(range, clear, [], new()), Engine))),
        ["PageTable.CollectAccessed"] = static trial => EachTable(Ranges, (table, range, said) => Each([true, false], clear => trial.Do($"accessed {said}", world => table(world).CollectAccessed(range, clear, [], new()), Engine))),

        ["InvalidationGather.Add"] = static trial => Each(Ranges, one => Each(Ranges, other => trial.Ask(
            $"gather {one} {other}",
            _ =>
            {
                var gather = new InvalidationGather();
                gather.Add(one);
                gather.Add(other);
                IovaRange[] kept = gather.Ranges.ToArray();
                Assert.All((IovaRange[])[one, other], range => Assert.Contains(kept, some => some.Contains(range)));
            }))),
        ["TablePagePool.TryFill"] = static trial => Each([1, 0, -1, int.MinValue, 100_000], count => Each(Numbers, size => trial.Try($"fill {count} of {size:x}", world => world.Pool.TryFill(world.Frames, size, count)))),
        ["TablePagePool.ReturnAll"] = static trial => Each([1, 2, 3, 4], count => trial.Ask($"return {count}", world =>
        {
            world.Pool.TryFill(world.Frames, Page, count);
            world.Pool.ReturnAll(world.Frames);
        })),

        // All but the last: it is a bank of a tebibyte, of which each frame takes nine bytes.
        ["BankedFrames..ctor"] = static trial => Each(Pieces[..^1], piece => trial.Do(
            $"a bank of {piece}", world => _ = new BankedFrames([world.Banks[0], new(piece, new("x"), true)]), typeof(ArgumentException), typeof(OverflowException))),
        ["BankedFrames.FreeBytesOf"] = static trial => Each(Pieces, piece => trial.Do($"free of {piece}", world => world.Frames.FreeBytesOf(new(piece, new("near"), true)), typeof(ArgumentException))),
        ["BankedFrames.TryAllocate"] = static trial => Each(Numbers, byteCount => EachRequest((request, said) =>
        {
            trial.Try($"{byteCount:x}", world => world.Frames.TryAllocate(byteCount, out _));
            trial.Try($"{byteCount:x} {said}", world => world.Frames.TryAllocate(byteCount, request, out _));
        })),
        ["BankedFrames.TryAllocateContiguous"] = static trial => Each(Numbers, byteCount => Each(Numbers, alignment => EachRequest((request, said) =>
        {
            trial.Try($"{byteCount:x} {alignment:x}", world => world.Frames.TryAllocateContiguous(byteCount, alignment, out _));
            trial.Try($"{byteCount:x} {alignment:x} {said}", world => world.Frames.TryAllocateContiguous(byteCount, alignment, request, out _));
        }))),
        ["BankedFrames.TryAllocateWithin"] = static trial => Each(Numbers, byteCount => Each(Numbers, alignment => Each(Pieces, within =>
        {
            trial.Try($"{byteCount:x} {alignment:x} {within}", world => world.Frames.TryAllocateWithin(byteCount, alignment, within, out _));
            trial.Try($"{byteCount:x} {alignment:x} {within} far", world => world.Frames.TryAllocateWithin(byteCount, alignment, new(new MemoryType("far")), within, out _));
        }))),
        ["BankedFrames.TryFindWithin"] = static trial => Each(Numbers, byteCount => Each(Numbers, alignment => Each(Pieces, within =>
            trial.Try($"{byteCount:x} {alignment:x} {within}", world => world.Frames.TryFindWithin(byteCount, alignment, within, out _))))),
        ["BankedFrames.TryAllocateAt"] = static trial => Each(Pieces, piece => trial.Try($"{piece}", world => world.Frames.TryAllocateAt(piece))),
        ["BankedFrames.TryFree"] = static trial => Each(Numbers, block => trial.Try($"free {block:x}", world => world.Frames.TryFree(new(block)))),
        ["BankedFrames.TryFindBank"] = static trial => Each(Numbers, address => trial.Ask($"{address:x}", world => world.Frames.TryFindBank(new(address), out _))),
        ["MemoryRequest.Admits"] = static trial => EachRequest((request, said) => trial.Ask(said, world => request.Admits(world.Banks[1]))),

        ["FrameAllocator..ctor"] = static trial => Each(Pieces[..^1], piece => trial.Do($"{piece}", world => _ = new FrameAllocator(piece), typeof(ArgumentException), typeof(OverflowException))),
        ["RangeAllocator..ctor"] = static trial => Each(Ranges, range => trial.Ask($"{range}", world => _ = new RangeAllocator(range))),
        ["CachedRangeAllocator..ctor"] = static trial => Each([0, 1, -1, 3, 32, 64, int.MaxValue, int.MinValue], count => trial.Do($"{count}", world => _ = new CachedRangeAllocator(new RangeAllocator(Ranges[^1]), count), typeof(ArgumentOutOfRangeException))),
        ["SpinUntilDeadline.KeepWaiting"] = static trial => Each([1, 0, -1, int.MinValue, int.MaxValue], attempt => Each([0L, -1L, long.MinValue, long.MaxValue], begun =>
            trial.Ask($"{begun} {attempt}", _ => new SpinUntilDeadline(TimeProvider.System, TimeSpan.Zero).KeepWaiting(begun, attempt)))),
        ["TableFormat.AllowsLeafAt"] = static trial => Each([1, 0, -1, 31, 32, int.MinValue, int.MaxValue], level => trial.Ask($"{level}", _ => LedgerIommu.FirstStage.AllowsLeafAt(level))),
    };

    private static void Each<T>(IEnumerable<T> values, Action<T> action)
    {
        foreach (T value in values) action(value);
    }

    /// <summary>On every domain, the one that has ended among them.</summary>
    private static void EachDomain<TOne, TOther>(
        Trial trial, IEnumerable<TOne> ones, IReadOnlyList<TOther> others, Action<Func<ThinHostileWorld, IommuDomain>, TOne, TOther, string> action)
    {
        _ = trial;
        foreach (TOne one in ones)
        {
            foreach (TOther other in others)
            {
                for (int i = 0; i < 4; i++)
                {
                    int which = i;
                    action(world => which == 3 ? world.Ended : world.Domains[which], one, other, $"in {which}: {one:x}, {other:x}");
                }
            }
        }
    }

    private static UnmapGather GatherOf(ThinHostileWorld world, int which) => which switch
    {
        0 => world.Gather,
        1 => world.ForeignGather,
        2 => world.HeldGather,
        3 => world.EndedGather,
        _ => null!,
    };

    private static void EachBuffer(Trial trial, Action<Func<ThinHostileWorld, Iova>, ulong, string> action)
    {
        _ = trial;
        foreach (ulong byteCount in Numbers.Append(100UL).Append(3 * Page))
        {
            action(static world => world.Buffer, byteCount, $"the buffer, {byteCount:x}");
            action(static world => world.Coherent, byteCount, $"the coherent one, {byteCount:x}");
            foreach (ulong address in Numbers) action(_ => new(address), byteCount, $"{address:x}, {byteCount:x}");
        }
    }

    private static void EachTable<T>(IEnumerable<T> values, Action<Func<ThinHostileWorld, IPageTable>, T, string> action)
    {
        foreach (T value in values)
        {
            for (int i = 0; i < 3; i++)
            {
                int which = i;
                action(world => world.Tables[which], value, $"{which}: {value:x}");
            }
        }
    }

    private static void EachRequest(Action<MemoryRequest, string> action) => Each(
        (MemoryRequest[])[default, new(new MemoryType("far")), new(new MemoryType("no such")), new(null, true), new(default(MemoryType), true)], request => action(request, request.ToString()));

    /// <summary>As a caller maps: what is mapped otherwise is never met, which is the caller's to know.</summary>
    private static void Map(ThinHostileWorld world, IPageTable table, ulong first, PhysRange[] segments, MappingAttributes attributes)
    {
        var pool = new TablePagePool();
        if (pool.TryFill(world.Frames, Page, table.CountMissingTables(new(first), segments)) != VcmmError.None) throw new MemoryIsOut();
        try
        {
            if (MeetsSomething(table, first, segments)) throw new MemoryIsOut();
            table.Map(new(first), segments, attributes, pool);
        }
        finally
        {
            pool.ReturnAll(world.Frames);
        }
    }

    /// <summary>What another table's owner gathered, or nothing: it is none of this table's.</summary>
    private static InvalidationGather OthersChanges(ThinHostileWorld world, int which)
    {
        var gather = new InvalidationGather();
        if (which == 0) return gather;
        Assert.Equal(VcmmError.None, LedgerTable(world, out IPageTable other));
        PhysRange[] page = [PhysRange.FromLength(new(0), Page)];
        var pool = new TablePagePool();
        Assert.Equal(VcmmError.None, pool.TryFill(world.Frames, Page, other.CountMissingTables(new(0), page)));
        other.Map(new(0), page, Access.ReadWrite, pool);
        other.Unmap(IovaRange.FromLength(new(0), ThinHostileWorld.Large), gather);
        Assert.True(gather.HasTables);
        return gather;
    }

    private static VcmmError LedgerTable(ThinHostileWorld world, out IPageTable table)
    {
        VcmmError error = world.Iommu.TryCreateTable(LedgerIommu.SecondStage, new FrameAllocator(PhysRange.FromLength(world.Spare, 16 * Page)), out IPageTable? made);
        table = made!;
        return error;
    }

    private static bool MeetsSomething(IPageTable table, ulong first, PhysRange[] segments)
    {
        UInt128 last = first;
        foreach (PhysRange segment in segments) last += segment.Last.Value - (UInt128)segment.First.Value + 1;
        return table.Leaves().Any(leaf => leaf.Range.Last.Value >= first && leaf.Range.First.Value < last);
    }

    /// <summary>The test's own: nothing was called.</summary>
    private sealed class MemoryIsOut : Exception;

    private sealed class Nothing : IQuarantined
    {
        public void Release()
        {
        }
    }
}
