using Microsoft.CodeAnalysis;

namespace Mutation.Operators;

/// <summary>What calls of the library do, by the names that it gives them.</summary>
internal static class CallSets
{
    /// <summary>Makes hardware forget, or notes that it is to.</summary>
    public static bool Invalidates(IMethodSymbol method) =>
        method.Name is "Invalidate" or "InvalidateAbsent" or "InvalidateSeveral" or "TryInvalidate" or "TryInvalidateEverything" or "Flush"
        || (method.Name is "Add" or "TryAdd" && Holder(method) is "InvalidationGather" or "InvalidationBatch" or "CoverSet" or "DomainCover" or "FlushBatch" or "FlushQueue" or "UnmapGather");

    /// <summary>Waits until hardware is done.</summary>
    public static bool Waits(IMethodSymbol method) =>
        method.Name is "Wait" or "TrySync" or "TryWaitForBits" or "TryFlush" or "FlushNow" or "Submit" or "TryFlushDeferred" or "FlushWhatIsDue";

    /// <summary>Writes memory back for walkers that do not snoop.</summary>
    public static bool Cleans(IMethodSymbol method) => method.Name is "Clean" or "CleanEntries" or "CleanAll";

    /// <summary>Takes entries out of tables.</summary>
    public static bool Clears(IMethodSymbol method) =>
        method.Name is "Unmap" or "UnmapFromAll" or "UnmapCutting" or "ClearEntries" or "ClearPages" or "ClearWords" or "ClearEach" or "ClearGone" or "Detach" or "TryClear"
        || (method.Name is "Write64" or "Write32" && method.Parameters.Length == 2);

    /// <summary>Gives memory, or an id, to whoever asks next.</summary>
    public static bool Frees(IMethodSymbol method) =>
        method.Name is "Free" or "TryFree" or "Release" or "TryRelease" or "FreeSubtree" or "FreeFrames" or "FreeBlock" or "FreeEntries" or "FreeDirectory" or "ReleaseDomain" or "TryFreeWith" or "Push";

    /// <summary>Takes back what was done before something failed.</summary>
    public static bool Undoes(IMethodSymbol method) => method.Name is "Undo" or "Restore" or "Relink" or "Untag" or "UnmapFromAll" or "IsDetachedAgain" or "Remove";

    /// <summary>Is about a range that is to go.</summary>
    public static bool TakesAway(IMethodSymbol method) =>
        Invalidates(method) || Clears(method) || method.Name is "Cover" or "TryUnmap" or "Protect" or "TryProtect" or "SetAttributes"
        || (method.MethodKind == MethodKind.Constructor && Holder(method) is "Invalidation" or "PendingInvalidation" or "CpuFlush");

    private static string Holder(IMethodSymbol method) => method.ContainingType?.Name ?? "";
}
