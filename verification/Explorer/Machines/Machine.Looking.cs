using Explorer.Oracles;
using Explorer.Replaying;
using Explorer.Scripts;
using Platform;
using Vcmm;

namespace Explorer.Machines;

// What is shown of the machine when a schedule is run again.
public sealed partial class Machine
{
    // VT-d specification, "Root Table Address Register".
    private const uint RootTableAddressRegister = 0x20;

    private PageStates? _states;

    private PageStates CreateStates() =>
        new(new UnseenMemory(Pool), Iommu.Options, new(Iommu.Read64(RootTableAddressRegister)), Iommu.PeekIotlb, OwnerOf);

    private string OwnerOf(PhysAddr frame)
    {
        if (!Frames.IsLive(frame)) return "is free";
        string[] backed = [.. Ledger.BackedBy(frame).Select(Name)];
        return backed.Length != 0 ? $"backs {string.Join(", ", backed)}" : IsTable(frame) ? "is a table" : "is allocated";
    }

    private string Name((Vcm Vcm, Iova Page, bool IsSettled) backed) =>
        $"{backed.Page}{(_regions.Count > 1 ? $" in region {_regions.IndexOf(backed.Vcm)}" : "")}{(backed.IsSettled ? "" : " (changing)")}";
}
