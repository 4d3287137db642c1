namespace IommuSim;

/// <summary>Which line of a full set of a cache of translations makes room for a new one.</summary>
public enum CacheReplacement
{
    /// <summary>The one that was not used for the longest time. Those that were used since the set was last filled count alike.</summary>
    LeastRecentlyUsed,

    /// <summary>The one that came first, however often it was used.</summary>
    FirstInFirstOut,

    /// <summary>Any; the same in each run.</summary>
    Random,
}
