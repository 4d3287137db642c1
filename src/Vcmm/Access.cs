namespace Vcmm;

/// <summary>What a device may do through a mapping.</summary>
[Flags]
public enum Access
{
    /// <summary>Nothing. Not an access that a reservation can have.</summary>
    None = 0,

    /// <summary>Read memory.</summary>
    Read = 1,

    /// <summary>Write memory.</summary>
    Write = 2,

    /// <summary>Read and write memory.</summary>
    ReadWrite = Read | Write,
}
