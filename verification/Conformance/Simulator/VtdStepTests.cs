using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>An access is a sequence of steps, each announced before it happens.</summary>
public sealed class VtdStepTests
{
    private readonly List<(SimStep Step, ulong Detail)> _seen = [];

    private RawVtd Recording(VtdOptions? options = null)
    {
        var vtd = new RawVtd(options, (step, detail) => _seen.Add((step, detail)));
        vtd.SetPage(1, FrameA | ReadWrite);
        return vtd;
    }

    [Fact]
    public void A_first_access_fetches_looks_up_walks_and_fills()
    {
        using RawVtd vtd = Recording();
        vtd.Master.Read(new(0x1008), new byte[8]);
        Assert.Equal(
            [
                (SimStep.ContextLookup, 0x20UL),
                (SimStep.ContextFetch, Root),
                (SimStep.ContextFetch, ContextTable + 0x200),
                (SimStep.ContextFill, 0x20UL),
                (SimStep.IotlbLookup, 0x1008UL),
                (SimStep.WalkCacheLookup, 0x1008UL),
                (SimStep.WalkRead, Table4),
                (SimStep.WalkCacheFill, 0x1008UL),
                (SimStep.WalkRead, Table3),
                (SimStep.WalkCacheFill, 0x1008UL),
                (SimStep.WalkRead, Table2),
                (SimStep.WalkCacheFill, 0x1008UL),
                (SimStep.WalkRead, Table1 + 8),
                (SimStep.IotlbFill, 0x1008UL),
                (SimStep.MemoryAccess, FrameA + 8),
            ],
            _seen);
    }

    [Fact]
    public void A_second_access_looks_up_and_goes_and_a_neighbour_walks_one_level()
    {
        using RawVtd vtd = Recording();
        vtd.Read(0x1000);
        _seen.Clear();
        vtd.Read(0x1000);
        Assert.Equal([SimStep.ContextLookup, SimStep.IotlbLookup], _seen.Select(seen => seen.Step));
        _seen.Clear();
        Assert.Equal(VtdFaultReason.Read, vtd.Fault(0x2000));
        Assert.Equal(
            [SimStep.ContextLookup, SimStep.IotlbLookup, SimStep.WalkCacheLookup, SimStep.WalkRead, SimStep.FaultRecord],
            _seen.Select(seen => seen.Step));
    }

    [Fact]
    public void What_the_tables_do_not_translate_is_looked_up_nowhere()
    {
        using RawVtd vtd = Recording();
        vtd.Read(0x1000);
        _seen.Clear();
        Assert.Equal(VtdFaultReason.AddressBeyondMgaw, vtd.Fault(1UL << 48));
        Assert.Equal([SimStep.ContextLookup, SimStep.FaultRecord], _seen.Select(seen => seen.Step));
    }

    [Fact]
    public void A_command_is_fetched_and_executed_and_a_wait_writes_its_status()
    {
        using RawVtd vtd = Recording();
        vtd.InvalidateAll();
        vtd.Wait();
        Assert.Equal(
            [
                (SimStep.CommandFetch, Queue),
                (SimStep.CommandExecute, 0xD2UL),
                (SimStep.CommandFetch, Queue + 16),
                (SimStep.CommandExecute, 0x1_0000_0025UL),
                (SimStep.StatusWrite, Status),
            ],
            _seen);
    }

    [Fact]
    public void A_step_that_throws_leaves_no_access_in_flight()
    {
        bool throws = false;
        using var vtd = new RawVtd(null, (step, _) =>
        {
            if (throws && step is SimStep.WalkRead or SimStep.MemoryAccess) throw new InvalidOperationException("stopped here");
        });
        vtd.SetPage(1, FrameA | ReadWrite);
        throws = true;
        Assert.Throws<InvalidOperationException>(() => vtd.Read(0x1000));
        Assert.Throws<InvalidOperationException>(() => vtd.Master.Read(new(0x1000), new byte[1]));
        throws = false;
        vtd.InvalidateAll();
        Assert.True(vtd.Wait());
    }

    [Fact]
    public void A_step_of_a_command_cannot_start_the_next_command()
    {
        RawVtd? machine = null;
        int refused = 0;
        bool isNested = false;
        using var vtd = new RawVtd(VtdOptions.Default with { Commands = CommandMode.Manual }, (step, _) =>
        {
            // Were it let in, it would come here again.
            if (step != SimStep.CommandExecute || isNested) return;
            isNested = true;
            if (!machine!.Iommu.ProcessNextCommand()) refused++;
            isNested = false;
        });
        machine = vtd;
        vtd.InvalidateAll();
        vtd.InvalidateAll();
        Assert.Equal(2, vtd.Iommu.ProcessCommands());
        Assert.Equal(2, refused);
        Assert.Equal(2, vtd.Iommu.Statistics.IotlbGlobalInvalidations);
    }
}
