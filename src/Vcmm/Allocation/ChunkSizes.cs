namespace Vcmm.Allocation;

/// <summary>The sizes of the chunks that physical memory may be made of. The value of each is its size in bytes.</summary>
[Flags]
public enum ChunkSizes : uint
{
    /// <summary>No size: nothing can be allocated.</summary>
    None = 0,

    /// <summary>4 KiB.</summary>
    Size4K = 1u << 12,

    /// <summary>64 KiB.</summary>
    Size64K = 1u << 16,

    /// <summary>1 MiB.</summary>
    Size1M = 1u << 20,

    /// <summary>2 MiB.</summary>
    Size2M = 1u << 21,

    /// <summary>16 MiB.</summary>
    Size16M = 1u << 24,

    /// <summary>1 GiB.</summary>
    Size1G = 1u << 30,

    /// <summary>All of them, the largest first.</summary>
    All = Size4K | Size64K | Size1M | Size2M | Size16M | Size1G,
}
