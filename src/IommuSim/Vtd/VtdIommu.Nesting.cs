using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

// Nested translation: what the first stage points at, its tables as well as its pages, is translated by the second stage of the
// same PASID entry.
public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>Finds out where a first-stage table is that the walk is to go on in, of which it has the guest-physical address.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Nested Translation, Access Rights: a paging structure may be read where the
    /// second stage grants reads.</remarks>
    private VtdFaultReason Locate(in Request request, in AddressSpace space, ref WalkStep step)
    {
        ulong guest = step.Table.Value;
        ulong entry = PageLevels.EntryAddress(step.Table, request.Address.Value, step.Level).Value;
        VtdFaultReason fault = FindPage(request, space, AccessTo(space, step), entry, DeviceAccess.Read, out Leaf page);    // SFS.5 to SFS.7
        step = step with { Table = new(page.Reach<PageLevels>(guest)), Guest = guest };
        return fault;
    }

    /// <summary>Finds out where the entry is for a write of its flags: the second stage must grant reads and writes, and has flags of its own.</summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Nested Translation, Access Rights; Accessed, Extended Accessed, and Dirty Flags.</remarks>
    private VtdFaultReason LocateForFlags(in Request request, in AddressSpace space, in WalkStep step, out PhysAddr at)
    {
        ulong entry = PageLevels.EntryAddress(new(step.Guest), request.Address.Value, step.Level).Value;
        GuestAccess access = AccessTo(space, step);
        VtdFaultReason fault = FindPage(request, space, access, entry, DeviceAccess.Write, out Leaf page);
        if (fault == VtdFaultReason.None && (page.Rights & Rights.Read) == 0) fault = space.SecondStageFor(access).Faults.Read;
        at = new(page.Reach<PageLevels>(entry));
        return fault;
    }

    /// <summary>
    /// From the page that the first stage has led to, to the one that the second stage leads to: as large as the smaller of the
    /// two, with what both grant.
    /// </summary>
    /// <remarks><b>Source.</b> Intel VT-d specification, Nested Translation, Access Rights; Caching Translation Information, IOTLB.</remarks>
    private VtdFaultReason Nest(in Request request, in AddressSpace space, ref Leaf leaf)
    {
        VtdFaultReason denial = Denial(request, space, leaf.Rights);
        if (denial != VtdFaultReason.None) return denial;
        ulong guest = leaf.Reach<PageLevels>(request.Address.Value);
        VtdFaultReason fault = FindPage(request, space, GuestAccess.Page, guest, request.Access, out Leaf page);    // SGN.5 to SGN.7
        int level = Math.Min(leaf.Level, page.Level);
        leaf = new(
            level,
            new(page.Reach<PageLevels>(guest) & ~PageLevels.PageMask(level)),
            leaf.Rights & page.Rights,
            leaf.IsDirty && (page.IsDirty || !space.SecondKeepsFlags));
        return fault;
    }

    /// <summary>Walks the second stage for one access to a guest-physical address.</summary>
    private VtdFaultReason FindPage(
        in Request request, in AddressSpace space, GuestAccess purpose, ulong guest, DeviceAccess access, out Leaf page)
    {
        AddressSpace second = space.SecondStageFor(purpose);
        Request through = request with { Address = new(guest), Access = access };
        if (!second.Reaches(guest, _options))
        {
            page = default;
            return second.Faults.BeyondWidth;
        }

        VtdFaultReason fault = FindLeaf<SecondStageEntry>(through, second, out page);
        return fault == VtdFaultReason.None ? Denial(through, second, page.Rights) : fault;
    }

    private static GuestAccess AccessTo(in AddressSpace space, in WalkStep step) =>
        step.Level == space.Levels ? GuestAccess.FirstTable : GuestAccess.Table;
}
