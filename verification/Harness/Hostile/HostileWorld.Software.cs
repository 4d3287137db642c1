using IommuSim;
using Platform;

namespace Harness.Hostile;

// Where things are, and software that puts everything right.
internal sealed partial class HostileWorld
{
    public const ulong MemoryBytes = 8 << 20;

    private const ulong LegacyRoot = 0x10000, LegacyContext = 0x11000, Root = 0x12000, Context = 0x13000, UpperContext = 0x14000, Directory = 0x15000, Pasids = 0x16000;
    private const ulong Second4 = 0x20000, Second3 = 0x21000, Second2 = 0x22000, Second1 = 0x23000;
    private const ulong First5 = 0x24000, First4 = 0x25000, First3 = 0x26000, First2 = 0x27000, First1 = 0x28000;
    private const ulong Nest4 = 0x29000, Nest3 = 0x2A000, Nest2 = 0x2B000, Nest1 = 0x2C000;
    private const uint NestedPasid = 5;
    private const ulong Queue = 0x30000, Status = 0x40000, Requests = 0x50000, LastTable = 0x60000;
    private const ulong FrameA = 0x100000, FrameB = 0x101000, GoodPage = 0x1000, FrameMark = 0xA5A5_0000_0000_5A5A;

    private const uint GCMD = 0x18, RTADDR = 0x20, CCMD = 0x28, FSTS = 0x34, IQH = 0x80, IQT = 0x88, IQA = 0x90, ICS = 0x9C, PQH = 0xC0, PQT = 0xC8, PQA = 0xD0, PRS = 0xDC, IOTLB = 0xF8, FRCD = 0x220;
    private const uint TE = 1u << 31, SRTP = 1u << 30, QIE = 1u << 26;

    private static readonly uint[] Sources = [0x20, 0x28, 0xFF, 0x1FF];
    private static readonly uint[] AtsSources = [0x28, 0x88];

    /// <summary>The words that the next walks will read, mostly.</summary>
    private static readonly ulong[] Hot =
    [
        LegacyRoot, LegacyRoot + 8, LegacyContext + 0x200, LegacyContext + 0x208, LegacyContext + 0x280, LegacyContext + 0x288,
        Root, Root + 8, Context + 0x400, Context + 0x408, Context + 0x410, Context + 0x418, Context + 0x500, Context + 0x508, UpperContext + 0x100, UpperContext + 0x108,
        Directory, Directory + 8,
        .. Enumerable.Range(0, 4).SelectMany(pasid => Enumerable.Range(0, 8).Select(word => Pasids + 64 + (ulong)pasid * 64 + (ulong)word * 8)),
        Second4, Second4 + 8, Second3, Second3 + 8, Second2, Second2 + 8, Second1, Second1 + 8, Second1 + 16, Second1 + 24,
        First5, First5 + 8, First4, First4 + 8, First3, First3 + 8, First2, First2 + 8, First1, First1 + 8, First1 + 16, First1 + 24,
    ];

    /// <summary>And where nested translation is offered: the entry of PASID 5, and its second stage.</summary>
    private static readonly ulong[] NestedHot =
    [
        .. Enumerable.Range(0, 3).Select(word => Pasids + NestedPasid * 64 + (ulong)word * 8),
        Nest4, Nest4 + 8, Nest3, Nest3 + 8, Nest2, Nest2 + 8,
        .. new[] { First5, First4, First3, First2, First1, FrameB }.Select(page => Nest1 + (page >> 12) * 8),
    ];

    /// <summary>The first stage's part of that.</summary>
    private static readonly ulong[] GuestHot = [First4, First3, First2, First1 + 8, First1 + 16];

    private void Store(ulong address, ulong value) => _ram.Port.Write64(new(address), LeadsToCanary(value) ? 0 : value);

    /// <summary>Whether the word, as a pointer, leads to the canary's page, or as a large leaf to the 2 MiB around it.</summary>
    private static bool LeadsToCanary(ulong word)
    {
        const ulong large = 1 << 7;
        ulong frame = word & 0xF_FFFF_FFFF_F000;
        return frame == (Canary & ~0xFFFUL) || ((word & large) != 0 && frame >> 21 == Canary >> 21);
    }

    private void Repair() => Repair(_options.ScalableMode && _pcg.Next(4) != 0);

    /// <summary>Good tables, registers as they should be, everything invalidated, translation on.</summary>
    private void Repair(bool isScalable)
    {
        Note($"repair, {(isScalable ? "scalable" : "legacy")} mode");
        _isScalable = isScalable;
        foreach (AtsDevice<GuardedMemory, NoSteps> device in _atsDevices) device.IsResponding = true;
        foreach (ulong word in _hot) Store(word, 0);
        Store(FrameA, FrameMark);
        Tables();
        _limit.Allow(CommandTouches);
        _unit.Write32(GCMD, 0);
        for (uint i = 0; i < _options.FaultRecordCount; i++) _unit.Write64(FRCD + i * 16 + 8, 1UL << 63);
        _unit.Write32(FSTS, ~0u);
        _unit.Write64(PQA, Requests);
        _unit.Write64(PQH, 0);
        _unit.Write64(PQT, 0);
        _unit.Write32(PRS, ~0u);
        _unit.Write64(RTADDR, isScalable ? Root | 1 << 10 : LegacyRoot);
        _unit.Write32(GCMD, SRTP);
        if (_options.QueuedInvalidation) ForgetByQueue(isScalable);
        else ForgetByRegisters();
        _unit.Write32(FSTS, ~0u);
        _unit.Write32(GCMD, (_options.QueuedInvalidation ? QIE : 0) | TE);
    }

    private void ForgetByQueue(bool isScalable)
    {
        _unit.Write64(IQT, 0);
        _unit.Write64(IQA, Queue | (isScalable ? 1UL << 11 : 0));
        _unit.Write32(GCMD, QIE);
        _tail = 0;
        Submit(0x11, 0);
        if (isScalable) Submit(0x37, 0);
        Submit(0x12, 0);
    }

    /// <summary>All contexts, and all translations: each command is done when its first bit is clear.</summary>
    private void ForgetByRegisters()
    {
        _unit.Write64(CCMD, 1UL << 63 | 1UL << 61);
        Expect(_unit.Read64(CCMD) >> 63 == 0 && (_unit.Read64(CCMD) >> 59 & 3) == 1, $"after a global invalidation the context command is 0x{_unit.Read64(CCMD):x}");
        _unit.Write64(IOTLB, 1UL << 63 | 1UL << 60);
        Expect(_unit.Read64(IOTLB) >> 63 == 0 && (_unit.Read64(IOTLB) >> 57 & 3) == 1, $"after a global invalidation the IOTLB command is 0x{_unit.Read64(IOTLB):x}");
    }

    private void Tables()
    {
        ulong levels = _options.FourLevelTables ? 2UL : 1, second = _options.FourLevelTables ? Second4 : Second3;
        ulong ats = _options.DeviceTlbs ? 1UL << 2 : 0, requests = _options is { DeviceTlbs: true, PageRequests: true } ? 1UL << 4 : 0;
        ulong pasidEnable = _options.RequestsWithPasid ? 1UL << 3 : 0, ridPasid = _options.RidPasid ? 1UL : 0, snoop = _options.ScalableWalkSnoop ? 1UL << 23 : 0;
        Store(LegacyRoot, LegacyContext | 1);
        Store(LegacyRoot + 8, 0);
        Store(Root, Context | 1);
        Store(Root + 8, UpperContext | 1);
        foreach (uint source in Sources.Concat(AtsSources))
        {
            bool hasTlb = AtsSources.Contains(source);
            Store(LegacyContext + (source & 0xFF) * 16, second | 1 | (hasTlb ? ats : 0));
            Store(LegacyContext + (source & 0xFF) * 16 + 8, levels | 7 << 8);
            ulong entry = ((source & 0x80) == 0 ? Context : UpperContext) + (source & 0x7F) * 32;
            Store(entry, Directory | 1 | pasidEnable | (hasTlb ? ats | requests : 0));
            Store(entry + 8, ridPasid);
            Store(entry + 16, 0);
            Store(entry + 24, 0);
        }

        Store(Directory, Pasids | 1);
        SetPasid(0, 1 | 2 << 6 | levels << 2 | second, 7 | snoop, 0);
        ulong keepsFlags = _options is { SecondStageAccessedDirty: true, ScalableWalkSnoop: true } && _pcg.Next(2) == 0 ? 1UL << 9 : 0;
        SetPasid(1, 1 | 2 << 6 | levels << 2 | keepsFlags | second, 7 | (keepsFlags != 0 && !_isEnd && _pcg.Next(4) == 0 ? 0 : snoop), 0);
        SetPasid(2, 1 | 1 << 6, 8 | snoop, First4 | (_options.SupervisorRequests ? 1UL : 0) | (_options.ExecuteRequests ? 2UL : 0));
        SetPasid(3, 1 | 1 << 6, 9 | snoop, First5 | 1 << 2);
        SetPasid(4, 1 | 4 << 6, 10 | snoop, 0);
        if (IsNesting) NestedTables(levels, keepsFlags, snoop);
        for (ulong i = 0; i < 4; i++)
        {
            Store(Second4 + i * 8, Second3 | 3);
            Store(Second3 + i * 8, Second2 | 3);
            Store(Second2 + i * 8, Second1 | 3);
            Store(Second1 + i * 8, FrameA | 3);
            Store(First5 + i * 8, First4 | 7);
            Store(First4 + i * 8, First3 | 7);
            Store(First3 + i * 8, First2 | 7);
            Store(First2 + i * 8, First1 | 7);
            Store(First1 + i * 8, FrameB | 7);
        }
    }

    /// <summary>The first-stage tables of PASID 2 once more, as a guest's: it has them at their own addresses, and frame A for frame B.</summary>
    private void NestedTables(ulong levels, ulong keepsFlags, ulong snoop)
    {
        ulong second = _options.FourLevelTables ? Nest4 : Nest3;
        SetPasid(NestedPasid, 1 | 3 << 6 | levels << 2 | keepsFlags | second, 11 | snoop, First4 | (_options.SupervisorRequests ? 1UL : 0));
        for (ulong i = 0; i < 2; i++)
        {
            Store(Nest4 + i * 8, Nest3 | 3);
            Store(Nest3 + i * 8, Nest2 | 3);
            Store(Nest2 + i * 8, Nest1 | 3);
        }

        foreach (ulong table in (ReadOnlySpan<ulong>)[First5, First4, First3, First2, First1]) Store(Nest1 + (table >> 12) * 8, table | 3);
        Store(Nest1 + (FrameB >> 12) * 8, FrameA | 3);
    }

    private void SetPasid(ulong pasid, ulong first, ulong second, ulong third)
    {
        for (ulong word = 0; word < 8; word++) Store(Pasids + pasid * 64 + word * 8, word switch { 0 => first, 1 => second, 2 => third, _ => 0 });
    }

    /// <summary>Puts a descriptor where software thinks that the tail is, and moves it.</summary>
    private void Submit(ulong low, ulong high, ulong third = 0)
    {
        _counts.Commands++;
        ulong bytes = _isScalable ? 32UL : 16;
        Store(Queue + _tail, low);
        Store(Queue + _tail + 8, high);
        if (_isScalable) Store(Queue + _tail + 16, third);
        if (_isScalable) Store(Queue + _tail + 24, 0);
        _tail = (_tail + bytes) % 4096;
        _limit.Allow(CommandTouches);
        _unit.Write64(IQT, _tail);
        if (_options.Commands == CommandMode.Manual) _unit.ProcessCommands();
    }
}
