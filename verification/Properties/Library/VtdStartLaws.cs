using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>A start on hardware that somebody had before, and on hardware that lacks something or does not do what it is told.</summary>
public sealed class VtdStartLaws : IDisposable
{
    private const ulong Page = VtdSystem.Page;
    private const uint Ecap = 0x10, Gcmd = 0x18, Gsts = 0x1C, Rtaddr = 0x20, QueueHead = 0x80;
    private const uint PageRequestHead = 0xC0, PageRequestTail = 0xC8, PageRequestAddress = 0xD0, PageRequestStatus = 0xDC;
    private const uint TranslationEnable = 1u << 31, QueuedInvalidationEnable = 1u << 26;
    private const ulong EntryBytes = 16;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(0), 64 * Page));
    private readonly FrameAllocator _frames;

    public VtdStartLaws() => _frames = new(_ram.Range);

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_somebody_left_in_the_invalidation_queue_is_done_before_the_queue_is_switched_off(bool usesQueue)
    {
        const int looks = 5;
        VtdIommu<Ram, NoSteps> simulator = LeftOn();
        int seen = 0, polls = 0;
        bool wasSwitchedOff = false;
        var registers = new HookedRegisters(simulator)
        {
            // The hardware comes to the end of it at the last of some looks.
            AfterRead64 = (offset, value) => offset == QueueHead && ++seen < looks ? value ^ EntryBytes : value,
        };
        registers.BeforeWrite32 = (offset, value) =>
        {
            if (offset != Gcmd || (value & QueuedInvalidationEnable) != 0 || (simulator.Read32(Gsts) & QueuedInvalidationEnable) == 0) return;
            Assert.Equal(looks, seen);
            wasSwitchedOff = true;
        };
        var policy = new CountedPolicy { OnPoll = () => polls++ };
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(_ram.Port, registers, _frames, new() { QueuedInvalidation = usesQueue, WaitPolicy = policy }, out _));
        Assert.True(wasSwitchedOff);
        Assert.Equal(looks - 1, polls);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_invalidation_queue_that_never_empties_is_waited_for_once_and_taken(bool usesQueue)
    {
        int seen = 0, polls = 0;
        var registers = new HookedRegisters(LeftOn())
        {
            AfterRead64 = (offset, value) => offset != QueueHead ? value : ++seen <= 1000 ? value ^ EntryBytes : throw new InvalidOperationException("it is waited for without end"),
        };
        var policy = new CountedPolicy { OnPoll = () => polls++ };
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(_ram.Port, registers, _frames, new() { QueuedInvalidation = usesQueue, WaitPolicy = policy }, out _));
        Assert.Equal(policy.Limit, polls);
    }

    /// <summary>The head reads 0 then, and the tail is what somebody wrote last: "Invalidation Queue Head Register".</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_invalidation_queue_that_is_off_is_not_waited_for(bool usesQueue)
    {
        var simulator = new VtdIommu<Ram, NoSteps>(_ram.Port, VtdOptions.Default);
        simulator.Write64(HookedRegisters.QueueTail, 4 * EntryBytes);
        var policy = new CountedPolicy { OnPoll = static () => Assert.Fail("hardware that answers at once is not polled") };
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(_ram.Port, simulator, _frames, new() { QueuedInvalidation = usesQueue, WaitPolicy = policy }, out _));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Hardware_that_did_less_than_to_forget_everything_is_refused(bool isIotlb)
    {
        (uint register, int field) = isIotlb ? (0xF8u, 57) : (0x28u, 59);
        var simulator = new VtdIommu<Ram, NoSteps>(_ram.Port, VtdOptions.Default with { QueuedInvalidation = false });
        var registers = new HookedRegisters(simulator) { AfterRead64 = (offset, value) => offset == register ? value & ~(3UL << field) : value };
        Assert.Equal(VcmmError.HardwareFailure, VtdDriver<Ram>.TryStart(_ram.Port, registers, _frames, new() { WaitPolicy = new CountedPolicy() }, out _));
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    /// <summary>"Root Table Address Register": the mode must not change under translations. Where it does not, nothing need stop.</summary>
    [Fact]
    public void Hardware_that_translates_in_scalable_mode_already_goes_on()
    {
        var simulator = new VtdIommu<Ram, NoSteps>(_ram.Port, VtdOptions.Scalable);
        VtdDriver<Ram>.Start(_ram.Port, simulator, _frames, new() { Scalable = true });
        int commands = 0;
        var registers = new HookedRegisters(simulator);
        registers.BeforeWrite32 = (offset, value) =>
        {
            if (offset != Gcmd) return;
            commands++;
            Assert.Equal(TranslationEnable, value & TranslationEnable);
        };
        VtdDriver<Ram>.Start(_ram.Port, registers, _frames, new() { Scalable = true, WaitPolicy = new CountedPolicy() });
        // The queue off and on, the root table, translation.
        Assert.Equal(4, commands);
    }

    [Theory]
    [InlineData(0u, TranslationEnable)]                 // legacy mode does not end
    [InlineData(0x4000_0000u, 0u)]                      // GSTS.RTPS
    [InlineData(QueuedInvalidationEnable, 0u)]
    [InlineData(TranslationEnable, 0u)]
    public void In_scalable_mode_too_a_start_that_one_status_bit_does_not_confirm_is_refused(uint missing, uint stuck)
    {
        var simulator = new VtdIommu<Ram, NoSteps>(_ram.Port, VtdOptions.Scalable);
        simulator.Write32(Gcmd, stuck);
        ulong root = simulator.Read64(Rtaddr);
        var registers = new HookedRegisters(simulator) { AfterRead32 = (offset, value) => offset == Gsts ? value & ~missing | stuck : value };
        var options = new VtdDriverOptions { Scalable = true, WaitPolicy = new CountedPolicy() };
        Assert.Equal(VcmmError.HardwareFailure, VtdDriver<Ram>.TryStart(_ram.Port, registers, _frames, options, out VtdDriver<Ram>? driver));
        Assert.Null(driver);
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
        if (stuck != 0) Assert.Equal(root, simulator.Read64(Rtaddr));
    }

    /// <remarks><b>Source.</b> VT-d specification, "Extended Capability Register": DT, PRS and PDS.</remarks>
    [Theory]
    [InlineData(2)]
    [InlineData(29)]
    [InlineData(42)]
    public void Page_requests_need_all_that_belongs_to_them(int bit)
    {
        var registers = new HookedRegisters(new VtdIommu<Ram, NoSteps>(_ram.Port, PageRequestSystem.Hardware))
        {
            AfterRead64 = (offset, value) => offset == Ecap ? value & ~(1UL << bit) : value,
        };
        var options = new VtdDriverOptions { Scalable = true, PageRequestQueueBytes = 4096, WaitPolicy = new CountedPolicy() };
        Assert.Equal(VcmmError.NoDevice, VtdDriver<Ram>.TryStart(_ram.Port, registers, _frames, options, out _));
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(_ram.Port, registers, _frames, options with { PageRequestQueueBytes = 0 }, out _));
    }

    /// <remarks><b>Source.</b> VT-d specification, "Page Request Queue Address Register": PQS, the queue has 2^PQS frames.</remarks>
    [Theory]
    [InlineData(4096u, 0UL)]
    [InlineData(16384u, 2UL)]
    public void The_page_request_queue_is_given_empty_and_with_its_size_before_any_device_may_ask(uint byteCount, ulong size)
    {
        var simulator = new VtdIommu<Ram, NoSteps>(_ram.Port, PageRequestSystem.Hardware);
        var written = new List<(uint Offset, ulong Value)>();
        var registers = new HookedRegisters(simulator)
        {
            BeforeWrite32 = (offset, value) => Note(offset, value),
            BeforeWrite64 = (offset, value) => Note(offset, value),
        };
        VtdDriver<Ram>.Start(_ram.Port, registers, _frames, new() { Scalable = true, PageRequestQueueBytes = byteCount, WaitPolicy = new CountedPolicy() });
        ulong queue = simulator.Read64(PageRequestAddress) & ~0xFFFUL;
        ulong root = simulator.Read64(Rtaddr);
        // Status: PPR and PRO are cleared by a 1.
        Assert.Equal([(PageRequestHead, 0), (PageRequestTail, 0), (PageRequestAddress, queue | size), (PageRequestStatus, 3), (Rtaddr, root)], written);

        bool Note(uint offset, ulong value)
        {
            if (offset is Rtaddr or >= PageRequestHead and <= PageRequestStatus) written.Add((offset, value));
            return true;
        }
    }

    /// <summary>A unit whose queue somebody has left on, with frames of his own.</summary>
    private VtdIommu<Ram, NoSteps> LeftOn()
    {
        var simulator = new VtdIommu<Ram, NoSteps>(_ram.Port, VtdOptions.Default);
        VtdDriver<Ram>.Start(_ram.Port, simulator, _frames);
        Assert.NotEqual(0u, simulator.Read32(Gsts) & QueuedInvalidationEnable);
        return simulator;
    }
}
