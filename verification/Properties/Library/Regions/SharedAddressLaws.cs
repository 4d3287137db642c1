using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>
/// Shared virtual addressing on the real driver: devices translate through tables that processes own, by accesses on the simulator.
/// Who takes something away says so, and then it is out of reach (I4); who does not is found out by the same accesses.
/// </summary>
public sealed class SharedAddressLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = ProcessTable.LargeBytes;

    private static readonly StreamId First = new(0x0391), Second = new(0x0492);

    private readonly ScalableSystem _system = new();
    private readonly VcmManager _manager;
    private readonly Dictionary<StreamId, Device> _devices = [];
    private ulong _token = 0x1000;

    public SharedAddressLaws()
    {
        _manager = new(_system.Frames);
        foreach (StreamId id in (StreamId[])[First, Second]) _devices.Add(id, _manager.AddDevice(_system.Driver, id));
    }

    public void Dispose() => _system.Dispose();

    /// <summary>Where a process may have something: both ends and the middle of both halves, with four levels and with five.</summary>
    public static TheoryData<int, ulong> Places => new()
    {
        { 4, 0 },
        { 4, 0x0000_7ABC_DE00_0000 },
        { 4, (1UL << 47) - 2 * Large },
        { 4, ulong.MaxValue << 47 },
        { 4, 0xFFFF_F123_4560_0000 },
        { 4, ulong.MaxValue - 2 * Large + 1 },
        { 5, 0x0000_8000_0000_0000 },
        { 5, (1UL << 56) - 2 * Large },
        { 5, ulong.MaxValue << 56 },
        { 5, 0xFFF1_2345_6780_0000 },
        { 5, ulong.MaxValue - 2 * Large + 1 },
    };

    [Theory]
    [MemberData(nameof(Places))]
    public void What_a_process_takes_away_is_out_of_reach_when_that_was_said_and_not_before(int levels, ulong at)
    {
        var process = new ProcessTable(_system.Memory, _system.Frames, levels);
        PhysRange small = _system.Allocate(2 * Page), large = _system.Allocate(Large);
        process.Map(at, small.First, isWritable: true);
        process.Map(at + Page, small.First + Page, isWritable: true);
        process.Map(at + Large, large.First, isWritable: true, isLarge: true);
        Vcm shared = Share(process, levels, IovaRange.FromLength(new(at), 2 * Large));
        Association association = Join(shared, First, 5, levels);
        Assert.False(Reaches(First, 5, at, small.First, true));
        association.Activate();
        Assert.Equal(VcmmError.None, shared.TryTranslate(new(at + Large + 7), out Translation translation));
        Assert.Equal(large.First + 7, translation.Address);
        AssertReaches(First, 5, at, small.First);
        AssertReaches(First, 5, at + Page, small.First + Page);
        AssertReaches(First, 5, at + Large, large.First);
        AssertReaches(First, 5, at + (2 * Large - Page), large.First + (Large - Page));
        Assert.Equal((true, true), process.FlagsOf(at));

        // Narrowed: it goes on to write until that was said.
        process.Narrow(at);
        process.Narrow(at + Large, isLarge: true);
        AssertReaches(First, 5, at, small.First);
        AssertReaches(First, 5, at + Large, large.First);
        shared.Invalidate(IovaRange.FromLength(new(at), Page));
        shared.Invalidate(IovaRange.FromLength(new(at + Large), Large));
        AssertReads(First, 5, at, small.First);
        AssertReads(First, 5, at + Large, large.First);
        AssertReads(First, 5, at + (2 * Large - Page), large.First + (Large - Page));
        AssertReaches(First, 5, at + Page, small.First + Page);

        // Taken away: likewise.
        process.Unmap(at + Page);
        process.Unmap(at + Large, isLarge: true);
        AssertReaches(First, 5, at + Page, small.First + Page);
        AssertReads(First, 5, at + Large, large.First);
        Assert.Equal(VcmmError.Fault, shared.TryTranslate(new(at + Page), out _));
        shared.Invalidate(new(new(at + Page), shared.Range.Last));
        Assert.False(Reads(First, 5, at + Page, small.First + Page));
        Assert.False(Reads(First, 5, at + Large, large.First));
        Assert.False(Reads(First, 5, at + (2 * Large - Page), large.First + (Large - Page)));
        AssertReads(First, 5, at, small.First);

        association.Deactivate();
        Assert.False(Reads(First, 5, at, small.First));
        association.Deassociate();
        shared.Free();
        process.Free();
        foreach (PhysRange memory in (PhysRange[])[small, large]) _system.Frames.TryFree(memory.First);
        Assert.Equal(0, _system.Simulator.Statistics.QueueErrors);
        _system.Driver.Stop();
        Assert.Equal(_system.Frames.TotalBytes, _system.Frames.FreeBytes);
    }

    [Fact]
    public void Two_processes_and_two_devices_one_of_which_serves_both()
    {
        const ulong at = 0x7000_0000_0000;
        ProcessTable[] processes = [new(_system.Memory, _system.Frames, 4), new(_system.Memory, _system.Frames, 4)];
        PhysRange[] memories = [_system.Allocate(2 * Page), _system.Allocate(2 * Page)];
        Vcm[] shared = new Vcm[2];
        for (int i = 0; i < 2; i++)
        {
            for (ulong page = 0; page < 2; page++) processes[i].Map(at + page * Page, memories[i].First + page * Page, isWritable: true);
            shared[i] = Share(processes[i], 4, IovaRange.FromLength(new(at), 1UL << 30));
        }

        // The first device serves both processes under a PASID each, the second one of them, under another PASID.
        (StreamId Device, uint Pasid, int Process)[] all = [(First, 1, 0), (First, 2, 1), (Second, 7, 1)];
        Association[] associations = [.. all.Select(one => Join(shared[one.Process], one.Device, one.Pasid, 4))];
        foreach (Association association in associations) association.Activate();
        foreach ((StreamId device, uint pasid, int process) in all)
        {
            for (ulong page = 0; page < 2; page++) AssertReaches(device, pasid, at + page * Page, memories[process].First + page * Page);
        }

        Assert.False(Reads(Second, 1, at, memories[0].First));
        Assert.False(Reads(Second, 2, at, memories[1].First));

        // The second process takes a page away: both devices lose it there, and the first keeps the first process's.
        processes[1].Unmap(at);
        foreach ((StreamId device, uint pasid, int process) in all) AssertReaches(device, pasid, at, memories[process].First);
        shared[1].Invalidate(IovaRange.FromLength(new(at), Page));
        Assert.False(Reads(First, 2, at, memories[1].First));
        Assert.False(Reads(Second, 7, at, memories[1].First));
        AssertReaches(First, 1, at, memories[0].First);
        foreach ((StreamId device, uint pasid, int process) in all) AssertReaches(device, pasid, at + Page, memories[process].First + Page);

        // A device that is gone from one process still serves the other.
        associations[1].Deactivate();
        processes[1].Narrow(at + Page);
        AssertReaches(Second, 7, at + Page, memories[1].First + Page);
        shared[1].Invalidate(IovaRange.FromLength(new(at + Page), Page));
        AssertReads(Second, 7, at + Page, memories[1].First + Page);
        Assert.False(Reads(First, 2, at + Page, memories[1].First + Page));
        AssertReaches(First, 1, at + Page, memories[0].First + Page);
        Assert.Equal(0, _system.Simulator.Statistics.QueueErrors);
    }

    [Fact]
    public void What_a_process_keeps_to_its_supervisor_a_device_does_not_get()
    {
        var process = new ProcessTable(_system.Memory, _system.Frames, 4);
        PhysRange memory = _system.Allocate();
        process.Map(ulong.MaxValue << 47, memory.First, isWritable: true, isUser: false);
        Vcm shared = Share(process, 4, IovaRange.FromLength(new(ulong.MaxValue << 47), Large));
        Join(shared, First, 5, 4).Activate();
        Assert.False(Reads(First, 5, ulong.MaxValue << 47, memory.First));
        process.Map(ulong.MaxValue << 47, memory.First, isWritable: true);
        AssertReaches(First, 5, ulong.MaxValue << 47, memory.First);
    }

    /// <summary>
    /// Software that chooses addresses for devices stays in the lower half and below the guest address width; a process's are as they are.
    /// </summary>
    [Fact]
    public void The_upper_half_is_a_processs_under_a_PASID_and_nobody_elses()
    {
        TableFormat four = FormatOf(4), five = FormatOf(5);
        var upper = IovaRange.FromLength(new(ulong.MaxValue << 47), Large);
        var process = new ProcessTable(_system.Memory, _system.Frames, 4);
        Device device = _devices[First];
        Assert.Equal(VcmmError.Invalid, _manager.CreateVcm(upper).TryAssociate(device, new() { Format = four, Pasid = new(1) }, out _));
        Assert.Equal(VcmmError.Invalid, _manager.AdoptVcm(upper, four, process.Root).TryAssociate(device, new() { Format = four }, out _));
        Assert.Equal(VcmmError.None, _manager.AdoptVcm(upper, four, process.Root).TryAssociate(device, new() { Format = four, Pasid = new(1) }, out _));

        // Not canonical, or both halves at once.
        (TableFormat Format, IovaRange Range, bool IsShared)[] rows =
        [
            (four, new(new(0), new((1UL << 47) - 1)), true),
            (four, new(new(0), new(1UL << 47)), false),
            (four, new(new(ulong.MaxValue << 47), new(ulong.MaxValue)), true),
            (four, new(new((ulong.MaxValue << 47) - 1), new(ulong.MaxValue)), false),
            (four, new(new(0), new(ulong.MaxValue)), false),
            (five, new(new(0), new((1UL << 56) - 1)), true),
            (five, new(new(0), new(1UL << 56)), false),
            (five, new(new(ulong.MaxValue << 56), new(ulong.MaxValue)), true),
            (five, new(new((ulong.MaxValue << 56) - 1), new(ulong.MaxValue)), false),
            (_system.Driver.Formats[0], new(new(0), new((1UL << 48) - 1)), true),
            (_system.Driver.Formats[0], new(new(ulong.MaxValue << 47), new(ulong.MaxValue)), false),
            (five with { LeafLevels = 0b10 }, new(new(0), new(Page)), false),
        ];
        Assert.All(rows, row => Assert.Equal(row.IsShared, _system.Driver.CanShare(row.Format, row.Range)));
    }

    private Vcm Share(ProcessTable process, int levels, IovaRange range) => _manager.AdoptVcm(range, FormatOf(levels), process.Root);

    private Association Join(Vcm shared, StreamId device, uint pasid, int levels) =>
        shared.Associate(_devices[device], new() { Format = FormatOf(levels), Pasid = new(pasid) });

    private TableFormat FormatOf(int levels) =>
        _system.Driver.Formats.Single(format => format.Encoding == X86FirstStage.Encoding && format.LevelCount == levels);

    private void AssertReaches(StreamId device, uint pasid, ulong at, PhysAddr frame) =>
        Assert.True(Reaches(device, pasid, at, frame, true), $"{device} pasid {pasid} does not write 0x{at:x}");

    private void AssertReads(StreamId device, uint pasid, ulong at, PhysAddr frame)
    {
        Assert.True(Reads(device, pasid, at, frame), $"{device} pasid {pasid} does not read 0x{at:x}");
        Assert.False(Reaches(device, pasid, at, frame, true), $"{device} pasid {pasid} writes 0x{at:x}");
    }

    private bool Reads(StreamId device, uint pasid, ulong at, PhysAddr frame) => Reaches(device, pasid, at, frame, false);

    /// <summary>Whether an access is let through; if it is it must have gone to that frame.</summary>
    private bool Reaches(StreamId device, uint pasid, ulong at, PhysAddr frame, bool writes)
    {
        BusMaster<Ram, NoSteps> master = _system.Master(device);
        var prefix = new PasidPrefix(new(pasid));
        _system.Memory.Write64(frame + 8, ++_token);
        byte[] word = BitConverter.GetBytes(_token);
        if (!writes)
        {
            byte[] read = new byte[sizeof(ulong)];
            if (!master.Read(new(at + 8), read, prefix).Ok) return false;
            Assert.Equal(word, read);
            return true;
        }

        word[7] ^= 0x80;
        bool isDone = master.Write(new(at + 8), word, prefix).Ok;
        Assert.Equal(isDone ? BitConverter.ToUInt64(word) : _token, _system.Memory.Read64(frame + 8));
        return isDone;
    }
}
