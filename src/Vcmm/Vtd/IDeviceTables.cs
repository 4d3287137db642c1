using Platform;
using Vcmm.Allocation;
using Vcmm.Tables;

namespace Vcmm.Vtd;

/// <summary>The tables in memory that lead the hardware from a device to the table that it translates through.</summary>
/// <remarks>
/// <para>Entries become present last, and absent by one write that leaves the rest as it was: hardware that has read a part
/// of one finds the other parts unchanged until it has been told to forget the entry.</para>
/// <para><b>Threads.</b> Any number at once, but for one device one call at a time.</para>
/// </remarks>
internal interface IDeviceTables
{
    /// <summary>What the root table address register is given.</summary>
    ulong RootPointer { get; }

    /// <summary>Whether any address space of the device is attached.</summary>
    bool IsAttached(StreamId device);

    /// <summary>Makes the entries present that lead to <paramref name="table"/>, or past all tables.</summary>
    /// <param name="attachment">Whose.</param>
    /// <param name="table">The table; null: requests go untranslated.</param>
    /// <param name="contextChanged">Whether the device's context entry was absent before.</param>
    /// <returns><see cref="VcmmError.NoMemory"/>; nothing is taken then.</returns>
    /// <exception cref="InvalidOperationException">The address space is attached already.</exception>
    VcmmError TryAttach(in Attachment attachment, IPageTable? table, out bool contextChanged);

    /// <summary>Makes them absent. What must follow: an invalidation, and <see cref="Forget"/> or <see cref="Restore"/>.</summary>
    /// <returns>Whether the device's context entry is among them.</returns>
    /// <exception cref="InvalidOperationException">The address space is not attached under that domain.</exception>
    bool Detach(in Attachment attachment);

    /// <summary>The hardware does not know the entries any more: they are cleared, and what is empty is freed.</summary>
    void Forget(in Attachment attachment, bool contextChanged);

    /// <summary>Makes the entries present again.</summary>
    void Restore(in Attachment attachment, bool contextChanged);

    /// <summary>Frees everything. The hardware is off.</summary>
    void Free();
}

/// <summary>Entries of several words, of which bit 0 of the first says whether the hardware looks at the others.</summary>
internal static class EntryExtensions
{
    public const ulong Present = 1;
    public const ulong AddressMask = ~0xFFFUL;

    private static readonly byte[] Zeros = new byte[FrameAllocator.FrameBytes];

    public static bool IsPresent<TMemory>(this TMemory memory, PhysAddr entry)
        where TMemory : struct, IPhysicalMemory => (memory.Read64(entry) & Present) != 0;

    /// <summary>Writes an entry that is absent, the first word last.</summary>
    public static void Publish<TMemory>(this TMemory memory, PhysAddr entry, ReadOnlySpan<ulong> words)
        where TMemory : struct, IPhysicalMemory
    {
        for (int i = words.Length - 1; i > 0; i--) memory.Write64(entry + (ulong)i * sizeof(ulong), words[i]);
        memory.Clean(PhysRange.FromLength(entry, (ulong)words.Length * sizeof(ulong)));
        memory.Fence();
        memory.SetFirst(entry, words[0] | Present);
        memory.Fence();
    }

    /// <summary>Makes an entry absent. The command that must follow fences.</summary>
    public static void Withdraw<TMemory>(this TMemory memory, PhysAddr entry)
        where TMemory : struct, IPhysicalMemory => memory.SetFirst(entry, memory.Read64(entry) & ~Present);

    /// <summary>Makes an entry present that <see cref="Withdraw"/> made absent.</summary>
    public static void Restore<TMemory>(this TMemory memory, PhysAddr entry)
        where TMemory : struct, IPhysicalMemory
    {
        memory.SetFirst(entry, memory.Read64(entry) | Present);
        memory.Fence();
    }

    /// <summary>Clears an entry that is absent and that no hardware knows.</summary>
    public static void Erase<TMemory>(this TMemory memory, PhysAddr entry, int wordCount)
        where TMemory : struct, IPhysicalMemory
    {
        memory.SetFirst(entry, 0);
        memory.Fence();
        for (int i = 1; i < wordCount; i++) memory.Write64(entry + (ulong)i * sizeof(ulong), 0);
        memory.Clean(PhysRange.FromLength(entry, (ulong)wordCount * sizeof(ulong)));
        memory.Fence();
    }

    /// <summary>Points an entry of one word at a table whose content can be seen.</summary>
    public static void Link<TMemory>(this TMemory memory, PhysAddr entry, PhysAddr table)
        where TMemory : struct, IPhysicalMemory
    {
        memory.SetFirst(entry, table.Value | Present);
        memory.Fence();
    }

    /// <summary>Zeroes frames, and makes that visible to walkers, before they become a table.</summary>
    public static void ZeroFrames<TMemory>(this TMemory memory, PhysAddr first, ulong byteCount = FrameAllocator.FrameBytes)
        where TMemory : struct, IPhysicalMemory
    {
        for (ulong done = 0; done < byteCount; done += FrameAllocator.FrameBytes) memory.Write(first + done, Zeros);
        memory.Clean(PhysRange.FromLength(first, byteCount));
        memory.Fence();
    }

    private static void SetFirst<TMemory>(this TMemory memory, PhysAddr entry, ulong value)
        where TMemory : struct, IPhysicalMemory
    {
        memory.Write64(entry, value);
        memory.Clean(PhysRange.FromLength(entry, sizeof(ulong)));
    }
}
