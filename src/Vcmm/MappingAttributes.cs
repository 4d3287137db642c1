using System.Globalization;

namespace Vcmm;

/// <summary>What a device may do through a mapping.</summary>
[Flags]
public enum Access : byte
{
    /// <summary>Nothing. Not an access that a reservation can have.</summary>
    None = 0,

    /// <summary>Read memory.</summary>
    Read = 1,

    /// <summary>Write memory.</summary>
    Write = 2,

    /// <summary>Read and write memory.</summary>
    ReadWrite = Read | Write,

    /// <summary>Fetch instructions from memory.</summary>
    Execute = 4,

    /// <summary>Read, write and execute.</summary>
    ReadWriteExecute = ReadWrite | Execute,
}

/// <summary>How accesses through a mapping use caches.</summary>
public enum CachePolicy : byte
{
    /// <summary>Write-back; a write that misses allocates a line.</summary>
    WriteBackWriteAllocate = 0,

    /// <summary>Write-back; a write that misses goes to memory.</summary>
    WriteBackNoWriteAllocate,

    /// <summary>Write-through.</summary>
    WriteThrough,

    /// <summary>Not cached.</summary>
    NotCached,
}

/// <summary>What a mapping grants, and how it uses caches.</summary>
/// <param name="Access">What a device may do.</param>
/// <param name="SupervisorOnly">Whether only requests with supervisor privilege are let through; else user requests are too.</param>
/// <param name="Secure">Whether the mapping leads to the secure physical address space.</param>
/// <param name="Cache">How caches are used.</param>
/// <remarks>
/// A format need not be able to say all of this. What protects (access, privilege, security) it must say or the call is
/// refused; a cache policy that it cannot say is the hardware's own.
/// </remarks>
public readonly record struct MappingAttributes(
    Access Access,
    bool SupervisorOnly = false,
    bool Secure = false,
    CachePolicy Cache = CachePolicy.WriteBackWriteAllocate)
{
    /// <summary>Whether these are attributes that a reservation can have: something is granted, and every value is a named one.</summary>
    public bool AreValid =>
        Access != Access.None && (Access & ~Access.ReadWriteExecute) == 0 && Cache <= CachePolicy.NotCached;

    /// <summary>The access, open to user requests, not secure, write-back.</summary>
    public static implicit operator MappingAttributes(Access access) => new(access);

    /// <summary>Whether everything that <paramref name="other"/> grants is granted.</summary>
    public bool Grant(MappingAttributes other) =>
        (other.Access & ~Access) == 0 && (!SupervisorOnly || other.SupervisorOnly) && Secure == other.Secure;

    /// <summary><c>rw-</c>, and what is not the default.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Flag(Access.Read, 'r')}{Flag(Access.Write, 'w')}{Flag(Access.Execute, 'x')}{(SupervisorOnly ? " supervisor" : "")}{(Secure ? " secure" : "")}{(Cache == default ? "" : $" {Cache}")}");

    private char Flag(Access flag, char letter) => (Access & flag) != 0 ? letter : '-';
}
