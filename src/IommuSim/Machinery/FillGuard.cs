namespace IommuSim.Machinery;

/// <summary>Whether what was read in an epoch may still be cached: no invalidation came since, or is under way.</summary>
internal readonly ref struct FillGuard(ref readonly ulong epoch, ulong began)
{
    private readonly ref readonly ulong _epoch = ref epoch;
    private readonly ulong _began = began;

    // A plain read: who asks has a fence behind it, and is not to be stopped here by a controlled schedule.
    public bool IsGood => _epoch == _began && (_began & 1) == 0;
}
