using Platform;

namespace IommuSim.Machinery;

/// <summary>How much the entries of each level of a format's tables translate.</summary>
internal interface IPageSizes
{
    /// <summary>The level of the top table, at most.</summary>
    static abstract int HighestLevel { get; }

    /// <summary>The highest level at which there are leaves.</summary>
    static abstract int HighestLeafLevel { get; }

    /// <summary>Log2 of the bytes that an entry of <paramref name="level"/> translates.</summary>
    static abstract int Shift(int level);

    /// <summary>Where the entry of <paramref name="level"/> for <paramref name="address"/> is in the table at <paramref name="table"/>.</summary>
    static abstract PhysAddr EntryAddress(PhysAddr table, ulong address, int level);
}

/// <summary>Tables of 512 entries of 8 bytes over pages of 4 KiB, up to five levels: x86-64's and both stages of VT-d's.</summary>
internal readonly struct PageLevels : IPageSizes
{
    public const ulong FrameMask = ~0xFFFUL;
    public const ulong EntryBytes = 8;
    public const int CountLog2 = 9;

    public static int HighestLevel => 5;

    public static int HighestLeafLevel => 3;

    /// <summary>The bits from <paramref name="bit"/> up.</summary>
    public static ulong BitsFrom(int bit) => ulong.MaxValue << bit;

    /// <summary>12, 21, 30, 39, 48.</summary>
    public static int Shift(int level) => unchecked(12 + (level - 1) * CountLog2);

    /// <summary>The offset bits within what an entry of <paramref name="level"/> translates.</summary>
    public static ulong PageMask(int level) => unchecked((1UL << Shift(level)) - 1);

    /// <summary>The bits of an address that tables of <paramref name="levels"/> levels translate: 39, 48, 57.</summary>
    public static int Width(int levels) => Shift(levels + 1);

    public static PhysAddr EntryAddress(PhysAddr table, ulong address, int level) =>
        new(table.Value | (address >> Shift(level) & 0x1FF) * EntryBytes);
}
