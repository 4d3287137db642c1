namespace IommuSim;

/// <summary>What stopped the invalidation queue: IQEI.</summary>
/// <remarks><b>Source.</b> Intel VT-d specification, Invalidation Queue Error Record Register.</remarks>
internal enum QueueErrorInfo : byte
{
    None = 0,

    /// <summary>The tail lies beyond the queue.</summary>
    TailInvalid = 1,

    /// <summary>No memory answers where the descriptor should be.</summary>
    FetchFailed = 2,

    /// <summary>There is no such type, or not in this mode, or it is not offered.</summary>
    TypeInvalid = 3,

    /// <summary>The type is right, and a reserved bit is set or a value is none.</summary>
    Reserved = 4,

    /// <summary>128 bits in scalable mode, or 256 where the unit does not have that.</summary>
    WidthInvalid = 5,

    /// <summary>The tail lies within a descriptor of 256 bits.</summary>
    TailMisaligned = 6,

    /// <summary>RTADDR_REG.TTM is none.</summary>
    ModeInvalid = 7,
}
