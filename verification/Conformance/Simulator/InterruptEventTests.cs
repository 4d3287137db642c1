using IommuSim;
using Platform;
using static Conformance.Simulator.RawScalable;

namespace Conformance.Simulator;

/// <summary>Non-Recoverable Fault Event, Recoverable Fault Event, Hardware Generation of Invalidation Completion Events: the messages.</summary>
public sealed class InterruptEventTests
{
    private const uint Fectl = 0x38, Ics = 0x9C, Iectl = 0xA0, Mask = 1u << 31, Pending = 1u << 30;
    private static readonly InterruptMessage FaultMessage = new(new(0x5_FEE0_1000), 0x41);
    private static readonly InterruptMessage CompletionMessage = new(new(0xFEE0_2000), 0x42);
    private static readonly InterruptMessage RequestMessage = new(new(0xFEE0_3004), 0x43);

    private readonly List<InterruptMessage> _sent = [];

    private RawAts Machine(bool isMasked = false)
    {
        var ats = new RawAts();
        ats.Iommu.Interrupt += _sent.Add;
        Program(Fectl, FaultMessage);
        Program(Iectl, CompletionMessage);
        Program(RawAts.Pectl, RequestMessage);
        return ats;

        void Program(uint control, InterruptMessage message)
        {
            ats.Iommu.Write32(control + 4, message.Data);
            ats.Iommu.Write64(control + 8, message.Address.Value);
            if (!isMasked) ats.Iommu.Write32(control, 0);
        }
    }

    [Fact]
    public void A_fault_sends_the_programmed_message_once_until_all_is_served()
    {
        using RawAts ats = Machine();
        ats.Vtd.Go(0x9000);
        Assert.Equal([FaultMessage], _sent);
        Assert.Equal(0u, ats.Iommu.Read32(Fectl));
        // PPF is set: this one is lost, with PFO, and the error of the queue comes to both. It is all one condition.
        ats.Vtd.Go(0x9000);
        ats.Vtd.Submit(0xF);
        Assert.Equal([FaultMessage], _sent);
        ats.Iommu.Write64(Frcd + 8, 1UL << 63);
        ats.Iommu.Write32(Fsts, ~0u);
        ats.Vtd.Go(0x9000);
        Assert.Equal([FaultMessage, FaultMessage], _sent);
        Assert.Equal(2, ats.Iommu.Statistics.InterruptMessages);
    }

    [Fact]
    public void An_error_of_the_queue_sends_the_fault_message()
    {
        using RawAts ats = Machine();
        ats.Vtd.Submit(0xF);
        Assert.Equal([FaultMessage], _sent);
    }

    [Fact]
    public void An_answer_that_nobody_waits_for_sends_the_fault_message()
    {
        using RawAts ats = Machine();
        new MisbehavingDevice<Ram, Hook>(ats.Iommu, ats.Vtd.Memory, new(0x31)).CompleteInvalidation();
        Assert.Equal([FaultMessage], _sent);
    }

    [Fact]
    public void A_wait_with_the_interrupt_flag_sends_its_message_behind_the_status_write()
    {
        using RawAts ats = Machine();
        ulong status = 0;
        ats.Iommu.Interrupt += _ => status = ats.Vtd.Read(Status);
        ats.Vtd.Submit(0x5 | 3 << 4 | 0x77UL << 32, Status);
        Assert.Equal([CompletionMessage], _sent);
        Assert.Equal(0x77UL, status);
        // IWC is not served.
        ats.Vtd.Submit(0x5 | 1 << 4);
        Assert.Single(_sent);
        ats.Iommu.Write32(Ics, 1);
        ats.Vtd.Submit(0x5 | 1 << 4);
        Assert.Equal([CompletionMessage, CompletionMessage], _sent);
        ats.Vtd.Submit(0x5);
        Assert.Equal(2, _sent.Count);
    }

    [Fact]
    public void A_page_request_sends_its_message_and_so_does_the_overflow()
    {
        using RawAts ats = Machine();
        ats.Stalls(0x9000);
        ats.Stalls(0xA000);
        Assert.Equal([RequestMessage], _sent);
        ats.Iommu.Write32(RawAts.Prs, 3);
        ats.Iommu.Write64(RawAts.Pqh, ats.Tail + 32);
        ats.Stalls(0xB000);
        Assert.Equal([RequestMessage, RequestMessage], _sent);
    }

    [Fact]
    public void A_masked_message_is_sent_when_the_mask_goes_unless_it_was_served_before()
    {
        using RawAts ats = Machine(isMasked: true);
        ats.Vtd.Go(0x9000);
        ats.Vtd.Submit(0x5 | 1 << 4);
        ats.Stalls(0xA000);
        Assert.Empty(_sent);
        foreach (uint control in new[] { Fectl, Iectl, RawAts.Pectl }) Assert.Equal(Mask | Pending, ats.Iommu.Read32(control));
        ats.Iommu.Write32(Ics, 1);
        ats.Iommu.Write32(Iectl, 0);
        ats.Iommu.Write32(RawAts.Pectl, 0);
        ats.Iommu.Write32(Fectl, 0);
        Assert.Equal([RequestMessage, FaultMessage], _sent);
        foreach (uint control in new[] { Fectl, Iectl, RawAts.Pectl }) Assert.Equal(0u, ats.Iommu.Read32(control));
    }

    /// <summary>Whoever takes the message may at once do all that software does, on its own thread or on another.</summary>
    [Fact]
    public void No_lock_is_held_and_the_handler_may_use_the_unit()
    {
        using RawAts ats = Machine();
        int faults = 0;
        ats.Iommu.Interrupt += message =>
        {
            if (message == FaultMessage)
            {
                faults++;
                Task.Run(() => ats.Iommu.Write64(Frcd + 8, 1UL << 63)).Wait(TimeSpan.FromSeconds(30));
                Assert.Equal(0u, ats.Iommu.Read32(Fsts));
            }
            else if (message == CompletionMessage)
            {
                Task.Run(() => ats.Iommu.Write32(Ics, 1)).Wait(TimeSpan.FromSeconds(30));
                // Another thread may have the queue, too.
                if (_sent.Count(sent => sent == CompletionMessage) < 3)
                    Task.Run(() => ats.Vtd.Submit(0x5 | 1 << 4)).Wait(TimeSpan.FromSeconds(30));
            }
        };
        for (int i = 0; i < 5; i++) ats.Vtd.Go(0x9000);
        Assert.Equal(5, faults);
        _sent.Clear();
        ats.Vtd.Submit(0x5 | 1 << 4);
        Assert.Equal([CompletionMessage, CompletionMessage, CompletionMessage], _sent);
    }

    [Fact]
    public void With_commands_left_to_others_the_message_comes_with_the_command()
    {
        using var vtd = new RawVtd(VtdOptions.Default with { Commands = CommandMode.Manual });
        vtd.Iommu.Interrupt += _sent.Add;
        vtd.Iommu.Write32(Iectl, 0);
        vtd.Submit(0x5 | 1 << 4, 0);
        Assert.Empty(_sent);
        Assert.True(vtd.Iommu.ProcessNextCommand());
        Assert.Equal([new InterruptMessage(default, 0)], _sent);
    }
}
