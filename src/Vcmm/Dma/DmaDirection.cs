namespace Vcmm.Dma;

/// <summary>Which way data goes.</summary>
public enum DmaDirection : byte
{
    /// <summary>The device reads what the CPU wrote.</summary>
    ToDevice,

    /// <summary>The device writes what the CPU will read.</summary>
    FromDevice,

    /// <summary>Both.</summary>
    Bidirectional,
}
