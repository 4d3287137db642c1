using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;

namespace Properties.Library.Nesting;

/// <summary>
/// Two guests in a region and four devices, with a model beside them: what a guest's table says of a page and what it said since that was
/// last told, and what the region has where. A device must reach what the two say together. While it is told to forget, the hardware fetches.
/// </summary>
internal sealed class NestedWorld : IDisposable
{
    public const int StepKinds = 16;

    private const int GuestCount = 2, PageCount = 4, TargetCount = 5, DeviceCount = 4;

    /// <summary>The pages of the region that guests map to: the last is never backed.</summary>
    private const ulong FirstTarget = NestedSystem.PageCount + 8;

    private readonly NestedSystem _system;
    private readonly Guest[] _guests;
    private readonly Probe[] _devices;
    private readonly Reservation _data;
    private readonly PhysicalAllocation _frames;

    private readonly Entry?[,] _entries = new Entry?[GuestCount, PageCount];
    private readonly HashSet<Entry>[,] _untold = new HashSet<Entry>[GuestCount, PageCount];
    private readonly bool[] _hasTable = [true, true];
    private readonly int[] _frameOf = [-1, -1, -1, -1, -1];
    private readonly int[] _guestOf = [0, 1, 0, -1];
    private readonly bool[] _isActive = [true, true, true, true];
    private bool _isWritable = true;
    private ulong _random;

    public NestedWorld(bool cachesAbsent)
    {
        _system = new(cachesAbsent);
        _guests = [_system.AddGuest(), _system.AddGuest(1)];
        // The first three have one PASID, two of them with a TLB; the last has the addresses of the region.
        _devices = [_system.Join(_guests[0], 5), _system.Join(_guests[1], 5, hasTlb: true), _system.Join(_guests[0], 5, hasTlb: true), _system.Join(null)];
        _data = _system.Region.ReserveAt(_system.At(FirstTarget), TargetCount * Guest.Page);
        _frames = _system.Manager.Allocate(2 * TargetCount * Guest.Page, ChunkSizes.Size4K, scattered: true);
        for (ulong frame = 0; frame < 2 * TargetCount; frame++) _system.Memory.Write64(_frames.AddressAt(frame * Guest.Page), MarkOf((int)frame));
        for (int guest = 0; guest < GuestCount; guest++)
        {
            for (int page = 0; page < PageCount; page++)
            {
                _untold[guest, page] = [];
                Change(guest, page, new((page + guest) % TargetCount, MayWrite: true));
            }
        }

        for (int target = 0; target < TargetCount - 1; target++) Back(target, target);
    }

    /// <summary>How often a device reached something, was blocked, and reached what its guest had not told that it is gone; how often the hardware fetched meanwhile.</summary>
    public (int Reached, int Blocked, int Late, int Fetched) Seen { get; private set; }

    public void Run((int Kind, int A, int B, int C)[] steps)
    {
        foreach ((int kind, int a, int b, int c) in steps)
        {
            _random = (ulong)(kind * 31 + a * 7 + b * 3 + c + 1) * 0x9E37_79B9;
            _system.OnStep = Fetch;
            Do(kind, a, b, c);
            _system.OnStep = static (_, _) => { };
            Access(a % DeviceCount, b % PageCount, writes: c % 2 == 0);
            Access(c % DeviceCount, a % PageCount, writes: b % 2 == 0);
        }

        for (int device = 0; device < DeviceCount; device++)
        {
            for (int page = 0; page < PageCount; page++)
            {
                Access(device, page, writes: false);
                Access(device, page, writes: true);
            }
        }
    }

    public void Dispose() => _system.Dispose();

    private void Do(int kind, int a, int b, int c)
    {
        int target = a % (TargetCount - 1), guest = a % GuestCount, page = b % PageCount, device = a % DeviceCount;
        switch (kind)
        {
            case 0 or 1 when _frameOf[target] < 0:
                Back(target, target + TargetCount * (b % 2));
                break;
            case 0 or 2 when _frameOf[target] >= 0:
                _data.Unback((ulong)target * Guest.Page, Guest.Page);
                _frameOf[target] = -1;
                break;
            case 3:
                _isWritable = !_isWritable;
                _data.SetAttributes(_isWritable ? Vcmm.Access.ReadWrite : Vcmm.Access.Read);
                break;
            case >= 4 and <= 8 when _hasTable[guest]:
                Change(guest, page, new(c % TargetCount, c % 3 != 0));
                break;
            case 9 when _hasTable[guest]:
                Change(guest, page, null);
                break;
            case 10 or 11 when _guestOf[device] >= 0:
                Tell(device, page, c % 2 == 0 ? 1 : PageCount - page);
                break;
            case 12:
                Switch(device, c % 3 != 0);
                break;
            case 13 when _devices[device].Association.Pasid is not null:
                Switch(device, false);
                _guestOf[device] = b % (GuestCount + 1) - 1;
                Association association = _devices[device].Association;
                association.SetOptions(association.Options with { NestedTable = _guestOf[device] < 0 ? null : _guests[_guestOf[device]].Table });
                Switch(device, true);
                break;
            case 14 when !_hasTable[guest] || b % 3 == 0:
                ToggleTable(guest);
                break;
        }
    }

    private void Back(int target, int frame)
    {
        _frameOf[target] = frame;
        _data.Back((ulong)target * Guest.Page, _frames, (ulong)frame * Guest.Page, Guest.Page);
    }

    private void Change(int guest, int page, Entry? entry)
    {
        // What was absent is not cached of a first stage, so that nothing is told of what comes.
        if (_entries[guest, page] is { } old) _untold[guest, page].Add(old);
        _entries[guest, page] = entry;
        if (entry is { } mapped) _guests[guest].Map((ulong)page, AddressOf(mapped.Target), mapped.MayWrite ? Vcmm.Access.ReadWrite : Vcmm.Access.Read);
        else _guests[guest].Unmap((ulong)page);
    }

    private void Tell(int device, int first, int count)
    {
        _devices[device].Invalidate((ulong)first, (ulong)count);
        for (int page = first; page < first + count; page++) _untold[_guestOf[device], page].Clear();
    }

    private void Switch(int device, bool isActive)
    {
        if (_isActive[device] == isActive) return;
        _isActive[device] = isActive;
        if (isActive) _devices[device].Association.Activate();
        else _devices[device].Association.Deactivate();
        // With the last of a guest's devices everything goes that was kept of its table.
        int guest = _guestOf[device];
        if (guest < 0 || Enumerable.Range(0, DeviceCount).Any(other => _isActive[other] && _guestOf[other] == guest)) return;
        for (int page = 0; page < PageCount; page++) _untold[guest, page].Clear();
    }

    /// <summary>The table of the last level is memory of the region like any other.</summary>
    private void ToggleTable(int guest)
    {
        ulong offset = _guests[guest].TableAt(1).Value - _system.Region.Range.First.Value;
        if (_hasTable[guest]) _system.Pages.Unback(offset, Guest.Page);
        else _system.Pages.Back(offset, _system.Behind, offset, Guest.Page);
        _hasTable[guest] = !_hasTable[guest];
    }

    private void Access(int device, int page, bool writes)
    {
        int guest = _guestOf[device];
        Iova at = guest < 0 ? AddressOf(page) : Guest.AddressOf((ulong)page);
        Entry? now = guest < 0 ? new Entry(page, MayWrite: true) : _entries[guest, page];
        Entry?[] before = guest < 0 ? [] : [.. _untold[guest, page].Select(static entry => (Entry?)entry)];
        int reached = Reach(_devices[device], at, writes);
        int expected = Frame(device, now, writes);
        if (reached == expected) Seen = reached < 0 ? Seen with { Blocked = Seen.Blocked + 1 } : Seen with { Reached = Seen.Reached + 1 };
        else if (before.Any(entry => Frame(device, entry, writes) == reached)) Seen = Seen with { Late = Seen.Late + 1 };
        else Assert.Fail($"device {device} of guest {guest} {(writes ? "writes" : "reads")} page {page} and reaches frame {reached}; there is {expected}, and before that was told {string.Join(' ', before.Select(entry => Frame(device, entry, writes)))}");
    }

    /// <summary>The frame that the device reaches; -1 if none.</summary>
    private int Reach(Probe device, Iova at, bool writes)
    {
        if (!writes) return device.Read(at) is { } mark ? Enumerable.Range(0, 2 * TargetCount).Single(frame => MarkOf(frame) == mark) : -1;
        for (int frame = 0; frame < 2 * TargetCount; frame++) _system.Memory.Write64(SecondWordOf(frame), 0);
        bool isDone = device.Write(at + sizeof(ulong), 1);
        int written = Enumerable.Range(0, 2 * TargetCount).SingleOrDefault(frame => _system.Memory.Read64(SecondWordOf(frame)) != 0, -1);
        Assert.Equal(isDone, written >= 0);
        return written;
    }

    /// <summary>Where a device gets to by what a table of its guest's says, and what the region has there now; -1: nowhere.</summary>
    private int Frame(int device, Entry? entry, bool writes)
    {
        if (!_isActive[device] || entry is not { } mapped || (_guestOf[device] >= 0 && !_hasTable[_guestOf[device]])) return -1;
        return writes && !(mapped.MayWrite && _isWritable) ? -1 : _frameOf[mapped.Target];
    }

    private void Fetch(SimStep step, ulong detail)
    {
        if (step != SimStep.CommandExecute) return;
        _system.OnStep = static (_, _) => { };
        for (int i = 0; i < DeviceCount; i++)
        {
            _random = unchecked(_random * 6364136223846793005 + 1442695040888963407);
            int page = (int)(_random >> 40 & 3), device = (int)(_random >> 50 & 3);
            if (_devices[device].Fetch(_guestOf[device] < 0 ? AddressOf(page) : Guest.AddressOf((ulong)page))) Seen = Seen with { Fetched = Seen.Fetched + 1 };
        }

        _system.OnStep = Fetch;
    }

    private Iova AddressOf(int target) => _system.At(FirstTarget + (ulong)target);

    private PhysAddr SecondWordOf(int frame) => _frames.AddressAt((ulong)frame * Guest.Page + sizeof(ulong));

    private static ulong MarkOf(int frame) => 0xF00D_0000 + (ulong)frame;

    /// <param name="Target">Which page of the region.</param>
    /// <param name="MayWrite">Whether the guest lets its device write there.</param>
    private readonly record struct Entry(int Target, bool MayWrite);
}
