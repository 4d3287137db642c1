using System.Runtime.CompilerServices;
using Platform;

namespace IommuSim.Machinery;

/// <summary>What a format of tables says of one entry: its decode, over which the walk is written.</summary>
internal interface IPagingEntry<TSelf>
    where TSelf : struct, IPagingEntry<TSelf>
{
    static abstract TSelf From(ulong bits);

    ulong Bits { get; }

    bool IsPresent { get; }

    /// <summary>What the entry grants; on the way to a page every entry must grant it.</summary>
    Rights Rights { get; }

    /// <summary>Whether the dirty flag of a leaf is set.</summary>
    bool IsDirty { get; }

    bool IsLeaf(int level);

    /// <summary>The frame or table pointed at.</summary>
    PhysAddr Target(int level);
}

/// <summary>Where a walk is.</summary>
/// <param name="Level">Of the entry that comes next.</param>
/// <param name="Table">The table that it is in.</param>
/// <param name="Rights">What the entries before it grant together.</param>
/// <param name="Guest">Under nested translation, the guest-physical address of the table, if the walk has come by it.</param>
internal readonly record struct WalkStep(int Level, PhysAddr Table, Rights Rights, ulong Guest = WalkStep.Unknown)
{
    public const ulong Unknown = ulong.MaxValue;
}

/// <summary>What a walk has found.</summary>
/// <param name="Level">Of the leaf.</param>
/// <param name="Target">The page.</param>
/// <param name="Rights">What all entries grant together.</param>
/// <param name="IsDirty">Whether nothing has to be set for a write any more.</param>
internal readonly record struct Leaf(int Level, PhysAddr Target, Rights Rights, bool IsDirty)
{
    /// <summary>Where in the page an address leads that it translates.</summary>
    public ulong Reach<TSizes>(ulong address)
        where TSizes : struct, IPageSizes =>
        Target.Value | (address & unchecked((1UL << TSizes.Shift(Level)) - 1));
}

/// <summary>
/// One walk of one interface: where it begins, what it refuses, and what becomes of what it meets. Faults are as in a
/// <see cref="CacheLine"/>: 0 is none, what others mean is the interface's own.
/// </summary>
internal interface IWalker<TEntry>
    where TEntry : struct, IPagingEntry<TEntry>
{
    /// <summary>Whether what the entries point at can be subject to a second stage.</summary>
    static abstract bool CanBeNested { get; }

    /// <summary>How often flags are tried to be set in an entry that software changes again and again.</summary>
    static abstract int FlagAttempts { get; }

    /// <summary>What is translated.</summary>
    ulong Address { get; }

    /// <summary>The top table.</summary>
    WalkStep Top { get; }

    /// <summary>Whether what the entries point at is subject to a second stage.</summary>
    bool IsNested { get; }

    /// <summary>Whether accessed and dirty flags are set.</summary>
    bool KeepsFlags { get; }

    /// <summary>The fault of a walk that kept finding an entry changed.</summary>
    byte FlagsNotUpdated { get; }

    /// <summary>The lowest level at which a cache knows the way; it may know of a fault.</summary>
    bool TryResume(out WalkStep step, out byte fault);

    /// <summary>Finds out where a table is of which the walk has the guest-physical address.</summary>
    byte Locate(ref WalkStep step);

    /// <summary>The fault of an entry that is in no memory.</summary>
    byte Unreachable(int level);

    /// <summary>The fault of an entry by itself: it is absent, or malformed.</summary>
    byte Check(TEntry entry, int level);

    /// <summary>The flags that an entry lacks for this use. A leaf that does not permit the access is not used.</summary>
    ulong MissingFlags(in WalkStep step, TEntry entry);

    /// <summary>Whether flags may be set in the entry, and where it is for that.</summary>
    byte FindForFlags(in WalkStep step, ref PhysAddr at);

    /// <summary>Flags were set, or not, since the entry was no more what had been read.</summary>
    void CountFlags(bool areSet);

    /// <summary>An entry of a level led to a table.</summary>
    void Keep(int level, PhysAddr table, Rights rights);

    /// <summary>An entry that the walk has come to has a fault.</summary>
    void Remember(in WalkStep step, byte fault);
}

/// <summary>The walk of page tables, for any interface and format.</summary>
internal static class TableWalk<TMemory, TSteps, TSizes>
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
    where TSizes : struct, IPageSizes
{
    /// <summary>Walks the tables of one stage to the leaf for the address. Each step's rule is cited where the walker answers for it.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="steps">The interleaving seam.</param>
    /// <param name="walker">Whose walk it is.</param>
    /// <param name="leaf">What it has found; meaningless if there is a fault.</param>
    /// <param name="entry">The entry that it ended at, if there is one.</param>
    /// <returns>The fault; 0: none.</returns>
    public static byte FindLeaf<TWalker, TEntry>(TMemory memory, TSteps steps, TWalker walker, out Leaf leaf, out TEntry entry)
        where TWalker : struct, IWalker<TEntry>, allows ref struct
        where TEntry : struct, IPagingEntry<TEntry>
    {
        leaf = default;
        TEntry found = default;

        // What others are given the address of is a copy, made where it is needed: the walk itself then stays in registers.
        // 1. The walk begins where the paging-structure caches know the way, else at the top.
        steps.At(SimStep.WalkCacheLookup, walker.Address);
        if (!walker.TryResume(out WalkStep step, out byte fault))
        {
            step = walker.Top;
            if (TWalker.CanBeNested && walker.IsNested) step = Locate<TWalker, TEntry>(walker, step, out fault);
        }

        while (fault == 0)
        {
            // 2. The entry is read; one that is absent or malformed is not used.
            PhysAddr at = TSizes.EntryAddress(step.Table, walker.Address, step.Level);
            steps.At(SimStep.WalkRead, at.Value);
            if (memory.TryRead64(at, out ulong bits))
            {
                found = TEntry.From(bits);
                fault = walker.Check(found, step.Level);
            }
            else
            {
                fault = walker.Unreachable(step.Level);
            }

            // 3. Its accessed flag is set, and the dirty flag of a leaf before the first write.
            if (fault == 0 && walker.KeepsFlags)
            {
                WalkStep here = step;
                if (TWalker.CanBeNested && walker.IsNested && here.Guest == WalkStep.Unknown && walker.MissingFlags(here, found) != 0)
                {
                    // A cached pointer does not say where the table is for the second stage, which flags are written through.
                    step = Locate<TWalker, TEntry>(walker, walker.Top, out fault);
                    continue;
                }

                TEntry kept = found;
                fault = KeepFlags(memory, steps, walker, here, at, ref kept);
                found = kept;
            }

            if (fault != 0)
            {
                WalkStep here = step;
                walker.Remember(here, fault);
                break;
            }

            // 4. It leads to a page, with what all entries grant together, or to the next table.
            Rights rights = step.Rights & found.Rights;
            PhysAddr target = found.Target(step.Level);
            if (found.IsLeaf(step.Level))
            {
                leaf = new(step.Level, target, rights, found.IsDirty);
                break;
            }

            int level = step.Level;
            step = new(level - 1, target, rights);
            if (TWalker.CanBeNested && walker.IsNested) step = Locate<TWalker, TEntry>(walker, step, out fault);
            if (fault == 0) walker.Keep(level, step.Table, rights);
        }

        entry = found;
        return fault;
    }

    private static WalkStep Locate<TWalker, TEntry>(TWalker walker, WalkStep step, out byte fault)
        where TWalker : struct, IWalker<TEntry>, allows ref struct
        where TEntry : struct, IPagingEntry<TEntry>
    {
        fault = walker.Locate(ref step);
        return step;
    }

    /// <summary>Sets the flags that an entry must have for this use, by compare-and-swap: what software has changed meanwhile is looked at anew.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static byte KeepFlags<TWalker, TEntry>(TMemory memory, TSteps steps, TWalker walker, in WalkStep step, PhysAddr at, ref TEntry entry)
        where TWalker : struct, IWalker<TEntry>, allows ref struct
        where TEntry : struct, IPagingEntry<TEntry>
    {
        for (int attempt = 0; attempt < TWalker.FlagAttempts; attempt++)
        {
            ulong missing = walker.MissingFlags(step, entry);
            if (missing == 0) return 0;
            byte fault = walker.FindForFlags(step, ref at);
            if (fault == 0)
            {
                steps.At(SimStep.FlagUpdate, at.Value);
                ulong wanted = entry.Bits | missing;
                ulong found = memory.CompareExchange64(at, wanted, entry.Bits);
                bool areSet = found == entry.Bits;
                walker.CountFlags(areSet);
                entry = TEntry.From(areSet ? wanted : found);
                fault = walker.Check(entry, step.Level);
            }

            if (fault != 0) return fault;
        }

        return walker.FlagsNotUpdated;
    }
}
