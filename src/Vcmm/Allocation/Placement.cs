namespace Vcmm.Allocation;

/// <summary>From which end of the free space a range is taken.</summary>
public enum Placement
{
    /// <summary>The lowest place that fits.</summary>
    BottomUp,

    /// <summary>The highest place that fits.</summary>
    TopDown,
}
